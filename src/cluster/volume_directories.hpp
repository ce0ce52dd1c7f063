#pragma once
// Directories of the host as PersistentVolumes: every node of the cluster sees them.

#include <string>

#include "controllers/volume_directories.hpp"

namespace skiff::cluster {

class HostDirectories final : public controllers::VolumeDirectories {
 public:
  /// `root` is the cluster's own; made when the first volume is.
  explicit HostDirectories(std::string root) : root_(std::move(root)) {}
  Result<std::string> make(const std::string& volume) override;
  Status remove(const std::string& path) override;
  Status empty(const std::string& path) override;

 private:
  const std::string root_;
};

}  // namespace skiff::cluster
