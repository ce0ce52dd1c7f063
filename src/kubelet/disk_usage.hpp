#pragma once
// What directories take on disk.

#include <string>

#include "client/node_stats.hpp"

namespace skiff::kubelet {

struct DiskUsage {
  std::uint64_t bytes = 0;   // of blocks, as du counts
  std::uint64_t inodes = 0;
};

/// Everything below `path` on its own file system; links are not followed, files with several names count once a name.
/// What cannot be read counts as nothing.
DiskUsage disk_usage(const std::string& path);
/// The file system that `path` is on.
client::FileSystemUsage file_system(const std::string& path);
/// The same with only what is below `path` as used.
client::FileSystemUsage directory_usage(const std::string& path);

}  // namespace skiff::kubelet
