#pragma once
// The host's images for the command line.

#include <cstdint>
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
Status tag_image(const ClusterConfig& config, const std::string& name, const std::string& new_name);
/// One line for each image that went: those without a name.
Result<std::vector<std::string>> prune_images(const ClusterConfig& config);
/// One line for each image that `file` held.
Result<std::vector<std::string>> load_images(const ClusterConfig& config, const std::string& file);
Result<std::vector<ImageInfo>> list_images(const ClusterConfig& config);
/// One line for each name and image that went.
Result<std::vector<std::string>> remove_image(const ClusterConfig& config, const std::string& name);

}  // namespace skiff::cluster
