#include "sys/loop.hpp"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "sys/files.hpp"

namespace skiff::sys {
namespace {

/// The attached device with this backing file. Names in sysfs may be cut or stale, so inode and device decide.
Result<std::string> find_loop(const struct stat& file) {
  TRY_ASSIGN(std::vector<std::string> names, list_directory("/sys/block"));
  for (const std::string& name : names) {
    if (!name.starts_with("loop") || !exists("/sys/block/" + name + "/loop/backing_file")) continue;
    Result<UniqueFd> device = open("/dev/" + name, O_RDONLY);
    loop_info64 info{};
    if (!device.ok() || ::ioctl(device.value().get(), LOOP_GET_STATUS64, &info) < 0) continue;
    bool same = info.lo_inode == file.st_ino && info.lo_device == static_cast<std::uint64_t>(file.st_dev);
    if (same && (info.lo_flags & LO_FLAGS_AUTOCLEAR) == 0) return "/dev/" + name;
  }
  return error(Code::NotFound, "no loop device");
}

/// The node of loop device `number`, made where /dev is not the kernel's own.
Result<std::string> device_node(int number) {
  std::string path = fmt::format("/dev/loop{}", number);
  if (!exists(path) && ::mknod(path.c_str(), S_IFBLK | 0660, makedev(7, static_cast<unsigned>(number))) < 0)
    return errno_error(errno, "mknod '{}'", path);
  return path;
}

}  // namespace

Result<std::string> attach_loop(const std::string& file) {
  TRY_ASSIGN(struct stat info, stat_of(file));
  if (Result<std::string> known = find_loop(info); known.ok()) return known;
  TRY_ASSIGN(UniqueFd backing, open(file, O_RDWR));
  TRY_ASSIGN(UniqueFd control, open("/dev/loop-control", O_RDWR));
  for (int attempt = 0;; ++attempt) {
    int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return errno_error(errno, "find a free loop device");
    TRY_ASSIGN(std::string path, device_node(number));
    TRY_ASSIGN(UniqueFd device, open(path, O_RDWR));
    loop_config config{};
    config.fd = static_cast<std::uint32_t>(backing.get());
    if (::ioctl(device.get(), LOOP_CONFIGURE, &config) == 0) return path;
    // EBUSY: somebody else was faster with this one.
    if (errno != EBUSY || attempt == 20) return errno_error(errno, "attach '{}' to {}", file, path);
  }
}

Status detach_loop(const std::string& device) {
  Result<UniqueFd> opened = open(device, O_RDONLY);
  if (!opened.ok()) return opened.error().sys_errno() == ENOENT ? ok() : Status(std::move(opened).error());
  if (::ioctl(opened.value().get(), LOOP_CLR_FD) < 0 && errno != ENXIO) return errno_error(errno, "detach {}", device);
  return ok();
}

}  // namespace skiff::sys
