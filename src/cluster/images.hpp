#pragma once
// The host's images for the command line.

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "image/registry_config.hpp"
#include "skiff/config.hpp"

namespace skiff::cluster {

struct ImageInfo {
  std::string id;
  std::vector<std::string> names;
  std::uint64_t size = 0;
};

/// What registries.yaml below the home directory says (k3s' form), and the proxy of the environment. Invalid: it is not of
/// that form.
Result<image::RegistryConfig> load_registries(const ClusterConfig& config);

/// One line: what was pulled. Errors as containerd words them.
Result<std::string> pull_image(const ClusterConfig& config, const std::string& name);
Status save_images(const ClusterConfig& config, const std::vector<std::string>& names, const std::string& file);
Status tag_image(const ClusterConfig& config, const std::string& name, const std::string& new_name);
/// One line for each image that went: those without a name that no pod uses.
Result<std::vector<std::string>> prune_images(const ClusterConfig& config);
/// Ids of the images that pods of any cluster below the home directory use, also of clusters whose process is gone.
std::set<std::string> images_in_use(const std::string& home);
/// One line for each image that `file` held.
Result<std::vector<std::string>> load_images(const ClusterConfig& config, const std::string& file);
Result<std::vector<ImageInfo>> list_images(const ClusterConfig& config);
/// One line for each name and image that went.
Result<std::vector<std::string>> remove_image(const ClusterConfig& config, const std::string& name);

}  // namespace skiff::cluster
