#pragma once
// A part of a volume that a container mounts: made when missing, and never outside the volume, whatever links a pod
// put there. skiff-init resolves the path again by the same rule when it mounts (RESOLVE_BENEATH), so a link that is
// swapped in between is refused there.

#include <string>

#include "base/error.hpp"

namespace skiff::kubelet {

struct SubPath {
  std::string volume;  // the volume's root, for this process to use
  std::string path;    // below it
  std::string mount;   // names for messages
  std::string container;
};

/// The error is what the container waits with.
Status prepare_sub_path(const SubPath& wanted);

}  // namespace skiff::kubelet
