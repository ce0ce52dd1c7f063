#pragma once
// The host's images for the command line.

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "skiff/config.hpp"

namespace skiff::cluster {

struct ImageInfo {
  std::string id;
  std::vector<std::string> names;
  std::uint64_t size = 0;
};

/// One line for each image that `file` held.
Result<std::vector<std::string>> load_images(const ClusterConfig& config, const std::string& file);
Result<std::vector<ImageInfo>> list_images(const ClusterConfig& config);
/// One line for each name and image that went.
Result<std::vector<std::string>> remove_image(const ClusterConfig& config, const std::string& name);

}  // namespace skiff::cluster
