// skiff image ...: works on the host's image store directly, with or without a running cluster.

#include <fmt/core.h>

#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cluster/images.hpp"

namespace skiff::cli {
namespace {

std::string human_size(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  double size = static_cast<double>(bytes);
  size_t unit = 0;
  while (size >= 1000 && unit + 1 < std::size(kUnits)) size /= 1000, ++unit;
  return unit == 0 ? fmt::format("{}B", bytes) : fmt::format("{:.3g}{}", size, kUnits[unit]);
}

std::string short_id(const std::string& id) { return id.substr(id.find(':') + 1, 12); }

// "docker.io/library/x:1.0" -> {"docker.io/library/x", "1.0"}
std::pair<std::string, std::string> name_and_tag(const std::string& name) {
  size_t colon = name.rfind(':');
  return {name.substr(0, colon), colon == std::string::npos ? "<none>" : name.substr(colon + 1)};
}

}  // namespace

int image_load(const Options& options, const std::vector<std::string>& files) {
  for (const std::string& file : files) {
    Result<std::vector<std::string>> loaded = cluster::load_images(options.cluster, file);
    if (!loaded.ok()) return fail(loaded.error());
    for (const std::string& line : loaded.value()) fmt::print("{}\n", line);
  }
  return kDone;
}

int image_list(const Options& options) {
  Result<std::vector<cluster::ImageInfo>> images = cluster::list_images(options.cluster);
  if (!images.ok()) return fail(images.error());
  std::vector<std::vector<std::string>> rows = {{"IMAGE", "TAG", "IMAGE ID", "SIZE"}};
  for (const cluster::ImageInfo& image : images.value()) {
    if (image.names.empty()) rows.push_back({"<none>", "<none>", short_id(image.id), human_size(image.size)});
    for (const std::string& name : image.names) {
      auto [repository, tag] = name_and_tag(name);
      rows.push_back({repository, tag, short_id(image.id), human_size(image.size)});
    }
  }
  print_table(rows);
  return kDone;
}

int image_pull(const Options& options, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    Result<std::string> pulled = cluster::pull_image(options.cluster, name);
    if (!pulled.ok()) return fail(pulled.error());
    fmt::print("{}\n", pulled.value());
  }
  return kDone;
}

int image_save(const Options& options, const std::vector<std::string>& names, const std::string& file) {
  Status saved = cluster::save_images(options.cluster, names, file);
  if (!saved.ok()) return fail(saved.error(), saved.error().code() == Code::NotFound ? "`skiff image ls` lists what there is." : "");
  return kDone;
}

int image_tag(const Options& options, const std::vector<std::string>& name_and_new_name) {
  Status tagged = cluster::tag_image(options.cluster, name_and_new_name[0], name_and_new_name[1]);
  if (!tagged.ok()) return fail(tagged.error(), tagged.error().code() == Code::NotFound ? "`skiff image ls` lists what there is." : "");
  return kDone;
}

int image_prune(const Options& options) {
  Result<std::vector<std::string>> gone = cluster::prune_images(options.cluster);
  if (!gone.ok()) return fail(gone.error());
  for (const std::string& line : gone.value()) fmt::print("{}\n", line);
  return kDone;
}

int image_remove(const Options& options, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    Result<std::vector<std::string>> removed = cluster::remove_image(options.cluster, name);
    if (!removed.ok()) return fail(removed.error(), removed.error().code() == Code::NotFound
                                                        ? "`skiff image ls` lists what there is."
                                                        : "");
    for (const std::string& line : removed.value()) fmt::print("{}\n", line);
  }
  return kDone;
}

}  // namespace skiff::cli
