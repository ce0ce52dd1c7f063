#pragma once
// The ids of pods with hostUsers: false: a block of 65536 for each, no two of this host alike, whatever cluster they are of.

#include <sys/types.h>

#include <string>

#include "base/error.hpp"
#include "runtime/container_spec.hpp"

namespace skiff::kubelet {

/// Blocks are files of one directory, made by whoever takes them and shared by all processes of the host. A block whose pod
/// has no directory any more is free. Any thread, any process.
class UserIds {
 public:
  explicit UserIds(std::string directory) : directory_(std::move(directory)) {}

  /// The first id of the pod with this directory; always the same one for as long as the directory exists. Unavailable: all
  /// blocks are taken.
  Result<uid_t> take(const std::string& pod_directory) const;
  /// Idempotent.
  Status give_back(const std::string& pod_directory) const;

 private:
  Result<bool> try_block(uid_t first, const std::string& pod_directory) const;

  const std::string directory_;
};

}  // namespace skiff::kubelet
