#include "cluster/images.hpp"

#include "cluster/state.hpp"
#include "image/content_store.hpp"
#include "sys/files.hpp"

namespace skiff::cluster {
namespace {

Result<std::unique_ptr<image::ContentStore>> open_store(const ClusterConfig& config) {
  TRY(sys::make_directories(config.home, 0755));
  return image::ContentStore::open(Paths(config).images());
}

}  // namespace

Result<std::vector<std::string>> load_images(const ClusterConfig& config, const std::string& file) {
  TRY_ASSIGN(auto store, open_store(config));
  TRY_ASSIGN(image::LoadReport report, store->load(file));
  std::vector<std::string> lines;
  for (const image::Loaded& loaded : report.images) {
    for (const std::string& name : loaded.names)
      lines.push_back(fmt::format("Loaded image: {}{}", name, loaded.new_content ? "" : " (nothing new)"));
    if (loaded.names.empty()) lines.push_back(fmt::format("Loaded image ID: {}", loaded.id));
  }
  for (const std::string& note : report.notes) lines.push_back("note: " + note);
  return lines;
}

Result<std::vector<ImageInfo>> list_images(const ClusterConfig& config) {
  TRY_ASSIGN(auto store, open_store(config));
  TRY_ASSIGN(std::vector<image::Image> images, store->list());
  std::vector<ImageInfo> infos;
  for (image::Image& one : images) infos.push_back({one.id, one.names, one.size});
  return infos;
}

Result<std::vector<std::string>> remove_image(const ClusterConfig& config, const std::string& name) {
  TRY_ASSIGN(auto store, open_store(config));
  // Which images pods use is the kubelets' knowledge, not this command's: a running container keeps its mounted layers
  // to its end, its restart will miss them.
  TRY_ASSIGN(image::ContentStore::Removed removed, store->remove(name, {}));
  std::vector<std::string> lines;
  for (const std::string& untagged : removed.untagged) lines.push_back("Untagged: " + untagged);
  for (const std::string& deleted : removed.deleted) lines.push_back("Deleted: " + deleted);
  return lines;
}

}  // namespace skiff::cluster
