#include "cluster/images.hpp"

#include "client/yaml.hpp"
#include "cluster/state.hpp"
#include "image/content_store.hpp"
#include "image/pull.hpp"
#include "kubelet/image_collector.hpp"
#include "sys/files.hpp"

namespace skiff::cluster {
namespace {

Result<std::unique_ptr<image::ContentStore>> open_store(const ClusterConfig& config) {
  TRY(sys::make_directories(config.home, 0755));
  return image::ContentStore::open(Paths(config).images());
}

// What is not there has nothing in it.
std::vector<std::string> names_in(const std::string& directory) {
  Result<std::vector<std::string>> names = sys::list_directory(directory);
  return names.ok() ? std::move(names).value() : std::vector<std::string>();
}

}  // namespace

std::set<std::string> images_in_use(const std::string& home) {
  std::set<std::string> ids;
  const std::string clusters = home + "/clusters/";
  for (const std::string& cluster : names_in(clusters))
    for (const std::string& node : names_in(clusters + cluster + "/nodes"))
      for (const std::string& id : kubelet::images_in_use(clusters + cluster + "/nodes/" + node)) ids.insert(id);
  return ids;
}

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

Result<image::RegistryConfig> load_registries(const ClusterConfig& config) {
  const std::string path = config.home + "/registries.yaml";
  image::RegistryConfig registries;
  if (sys::exists(path)) {
    auto parsed = [&]() -> Result<image::RegistryConfig> {
      TRY_ASSIGN(std::string yaml, sys::read_file(path));
      TRY_ASSIGN(std::string json, client::json_from_yaml(yaml));
      return image::RegistryConfig::parse(json);
    }();
    if (!parsed.ok()) return std::move(parsed).error().in(fmt::format("'{}'", path));
    registries = std::move(parsed).value();
  }
  registries.take_proxy_from_environment();
  return registries;
}

Result<std::string> pull_image(const ClusterConfig& config, const std::string& name) {
  TRY_ASSIGN(image::Reference reference, image::parse_reference(name));
  TRY_ASSIGN(image::RegistryConfig registries, load_registries(config));
  TRY_ASSIGN(auto store, open_store(config));
  SystemClock clock;
  TRY_ASSIGN(image::Pulled pulled, image::pull(*store, {reference}, registries, clock, {}));
  return fmt::format("{}: {}", pulled.new_content ? "Pulled" : "Up to date", reference.display());
}

Status save_images(const ClusterConfig& config, const std::vector<std::string>& names, const std::string& file) {
  TRY_ASSIGN(auto store, open_store(config));
  return store->save(names, file);
}

Status tag_image(const ClusterConfig& config, const std::string& name, const std::string& new_name) {
  TRY_ASSIGN(auto store, open_store(config));
  return store->tag(name, new_name);
}

Result<std::vector<std::string>> prune_images(const ClusterConfig& config) {
  TRY_ASSIGN(auto store, open_store(config));
  TRY_ASSIGN(std::vector<std::string> gone, store->collect_garbage(images_in_use(config.home)));
  for (std::string& id : gone) id = "Deleted: " + id;
  return gone;
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
  // A pod keeps its image to its end, though not the name.
  TRY_ASSIGN(image::ContentStore::Removed removed, store->remove(name, images_in_use(config.home)));
  std::vector<std::string> lines;
  for (const std::string& untagged : removed.untagged) lines.push_back("Untagged: " + untagged);
  for (const std::string& deleted : removed.deleted) lines.push_back("Deleted: " + deleted);
  return lines;
}

}  // namespace skiff::cluster
