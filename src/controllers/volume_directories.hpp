#pragma once
// Where the built-in provisioner puts volumes. `cluster` implements it with directories that all nodes of the machine
// share; tests with names.

#include <string>

#include "base/error.hpp"

namespace skiff::controllers {

/// What the built-in StorageClass names as its provisioner.
inline constexpr char kDirectoryProvisioner[] = "skiff.dev/directory";

/// One thread at a time.
class VolumeDirectories {
 public:
  virtual ~VolumeDirectories() = default;
  /// An absolute path that every node can mount; one that exists is fine. Anyone may write there.
  virtual Result<std::string> make(const std::string& volume) = 0;
  /// Removes a directory with all that is in it; a missing one is fine. Forbidden: not one that volumes may own.
  virtual Status remove(const std::string& path) = 0;
  /// Removes what is in a directory (reclaim policy Recycle).
  virtual Status empty(const std::string& path) = 0;
};

}  // namespace skiff::controllers
