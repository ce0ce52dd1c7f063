#include "kubelet/disk_usage.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <memory>

#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

struct CloseDirectory {
  void operator()(DIR* stream) const { ::closedir(stream); }
};

void add_below(UniqueFd directory, dev_t device, DiskUsage& usage) {
  std::unique_ptr<DIR, CloseDirectory> stream(::fdopendir(directory.get()));
  if (!stream) return;
  int fd = directory.release();  // the stream's from here on
  while (dirent* entry = ::readdir(stream.get())) {
    std::string_view name = entry->d_name;
    struct stat info {};
    if (name == "." || name == ".." || ::fstatat(fd, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0) continue;
    if (info.st_dev != device) continue;
    usage.bytes += static_cast<std::uint64_t>(info.st_blocks) * 512;
    ++usage.inodes;
    if (!S_ISDIR(info.st_mode)) continue;
    UniqueFd below(::openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (below) add_below(std::move(below), device, usage);
  }
}

}  // namespace

DiskUsage disk_usage(const std::string& path) {
  DiskUsage usage;
  Result<struct stat> info = sys::stat_of(path);
  Result<UniqueFd> directory = sys::open(path, O_RDONLY | O_DIRECTORY);
  if (!info.ok() || !directory.ok()) return usage;
  usage = {static_cast<std::uint64_t>(info.value().st_blocks) * 512, 1};
  add_below(std::move(directory).value(), info.value().st_dev, usage);
  return usage;
}

client::FileSystemUsage file_system(const std::string& path) {
  client::FileSystemUsage usage;
  struct statvfs disk {};
  if (::statvfs(path.c_str(), &disk) < 0) return usage;
  usage.capacity_bytes = disk.f_blocks * disk.f_frsize;
  usage.available_bytes = disk.f_bavail * disk.f_frsize;
  usage.used_bytes = (disk.f_blocks - disk.f_bfree) * disk.f_frsize;
  usage.inodes = disk.f_files;
  usage.inodes_free = disk.f_ffree;
  usage.inodes_used = disk.f_files - disk.f_ffree;
  return usage;
}

client::FileSystemUsage directory_usage(const std::string& path) {
  client::FileSystemUsage usage = file_system(path);
  DiskUsage own = disk_usage(path);
  usage.used_bytes = own.bytes;
  usage.inodes_used = own.inodes;
  return usage;
}

}  // namespace skiff::kubelet
