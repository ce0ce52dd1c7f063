#pragma once
// Files of a volume that change all at once (Kubernetes' atomic writer): the files live in a timestamped
// directory,
// "..data" points at it, and the visible names are links through "..data". A reader sees the old set or the
// new.

#include <map>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "base/random.hpp"

namespace skiff::kubelet {

struct VolumeFile {
  std::string content;
  int mode = 0644;
  std::optional<std::uint32_t> owner;  // a user instead of root

  bool operator==(const VolumeFile&) const = default;
};

/// By path below the volume; paths are relative and without "..".
using VolumeFiles = std::map<std::string, VolumeFile>;

/// Makes `directory` hold exactly `files`. Writes nothing when it already does. `group`, when not negative,
/// owns them.
Status write_volume(const std::string& directory, const VolumeFiles& files, Random& random,
                    std::int64_t group);

}  // namespace skiff::kubelet
