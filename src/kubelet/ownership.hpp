#pragma once
// fsGroup: a volume's files given to a group.

#include <string>

#include "base/error.hpp"

namespace skiff::kubelet {

struct GroupChange {
  std::int64_t group = -1;
  bool only_on_mismatch = false;  // fsGroupChangePolicy OnRootMismatch: the root of the tree speaks for all of it
  bool read_only = false;
};

/// Gives everything below `path` to the group and lets the group use it; links are changed, not followed. The root
/// comes last, so that a change that was interrupted is seen by OnRootMismatch.
Status give_to_group(const std::string& path, const GroupChange& change);

}  // namespace skiff::kubelet
