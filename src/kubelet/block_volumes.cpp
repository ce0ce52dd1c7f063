#include "kubelet/block_volumes.hpp"

#include <fcntl.h>
#include <unistd.h>

#include "sys/files.hpp"
#include "sys/loop.hpp"

namespace skiff::kubelet {
namespace {

constexpr const char* kImageName = "block.img";

/// The file behind a loop device, at least `bytes` long. Sparse: it takes what is written.
Result<std::string> backing_file(const std::string& path, std::int64_t bytes) {
  TRY_ASSIGN(struct stat info, sys::stat_of(path));
  std::string file = S_ISDIR(info.st_mode) ? path + "/" + kImageName : path;
  TRY_ASSIGN(UniqueFd opened, sys::open(file, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (::fstat(opened.get(), &info) < 0) return errno_error(errno, "stat '{}'", file);
  if (info.st_size < bytes && ::ftruncate(opened.get(), bytes) < 0) return errno_error(errno, "grow '{}'", file);
  return file;
}

}  // namespace

Result<std::string> BlockVolumes::attach(const Wanted& wanted) {
  TRY_ASSIGN(struct stat info, sys::stat_of(wanted.path));
  if (S_ISBLK(info.st_mode)) return wanted.path;
  MutexLock lock(mutex_);
  TRY_ASSIGN(std::string file, backing_file(wanted.path, wanted.bytes));
  TRY_ASSIGN(std::string device, sys::attach_loop(file));
  std::string record = wanted.pod_directory + "/devices/" + wanted.volume;
  TRY(sys::make_directories(wanted.pod_directory + "/devices"));
  if (Result<std::string> known = sys::read_link(record); known.ok() && known.value() == device) return device;
  TRY(sys::remove_file(record));
  TRY(sys::symlink(device, record));
  return device;
}

bool BlockVolumes::used_elsewhere(const std::string& pod_directory, const std::string& device) const {
  std::string pods = pod_directory.substr(0, pod_directory.rfind('/'));
  Result<std::vector<std::string>> uids = sys::list_directory(pods);
  for (const std::string& uid : uids.ok() ? uids.value() : std::vector<std::string>()) {
    std::string devices = pods + "/" + uid + "/devices";
    if (pods + "/" + uid == pod_directory) continue;
    Result<std::vector<std::string>> names = sys::list_directory(devices);
    for (const std::string& name : names.ok() ? names.value() : std::vector<std::string>())
      if (Result<std::string> used = sys::read_link(devices + "/" + name); used.ok() && used.value() == device)
        return true;
  }
  return false;
}

Status BlockVolumes::detach_all(const std::string& pod_directory) {
  MutexLock lock(mutex_);
  std::string devices = pod_directory + "/devices";
  Result<std::vector<std::string>> names = sys::list_directory(devices);
  if (!names.ok()) return names.error().code() == Code::NotFound ? ok() : Status(std::move(names).error());
  for (const std::string& name : names.value()) {
    Result<std::string> device = sys::read_link(devices + "/" + name);
    if (device.ok() && !used_elsewhere(pod_directory, device.value())) TRY(sys::detach_loop(device.value()));
  }
  return sys::remove_tree(devices);
}

}  // namespace skiff::kubelet
