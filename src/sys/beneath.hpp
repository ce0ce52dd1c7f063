#pragma once
// Opening files that strangers named: never outside a directory, never through a symbolic link.

#include <string>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace skiff::sys {

/// openat2(2) of `path` (relative) beneath `directory`. Fails with ELOOP where a link stands in the path,
/// with EXDEV where the path leads out of the directory or into another file system.
Result<UniqueFd> open_beneath(const UniqueFd& directory, const std::string& path, int flags, mode_t mode = 0);

/// Opens (O_PATH) `path` (relative) within `directory`: links are followed as long as they stay in it (EXDEV: one leads
/// out), other file systems may be mounted below.
Result<UniqueFd> open_within(const UniqueFd& directory, const std::string& path);
/// Makes the directories of `path` by the same rule; existing ones stay as they are.
Status make_within(const UniqueFd& directory, const std::string& path, mode_t mode);

/// syncfs(2): everything written to the file system of `directory` is on disk.
Status sync_file_system(const std::string& directory);

}  // namespace skiff::sys
