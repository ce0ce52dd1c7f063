#include "devices.hpp"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "paths.hpp"

namespace skiff::init {
namespace {

struct Device {
  const char* name;
  unsigned major, minor;
};
constexpr Device kDevices[] = {{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
                               {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
struct Link {
  const char *name, *target;
};
constexpr Link kLinks[] = {{"ptmx", "pts/ptmx"},          {"fd", "/proc/self/fd"},
                           {"stdin", "/proc/self/fd/0"},  {"stdout", "/proc/self/fd/1"},
                           {"stderr", "/proc/self/fd/2"}, {"core", "/proc/kcore"}};

/// Inside a user namespace mknod is refused: the host's device is bound instead.
bool bind_device(int directory, const char* name) {
  Fd file(openat(directory, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0666));
  if (!file.valid()) return false;
  char source[300];
  snprintf(source, sizeof source, "/dev/%s", name);
  return mount(source, FdPath(file.get()).text, nullptr, MS_BIND, nullptr) == 0;
}

void copy_devices(const char* host_path, int directory, int depth) {
  DIR* stream = opendir(host_path);
  if (stream == nullptr) return;
  while (dirent* entry = readdir(stream)) {
    const char* name = entry->d_name;
    char path[600];
    if (name[0] == '.' || snprintf(path, sizeof path, "%s/%s", host_path, name) >= int{sizeof path}) continue;
    struct stat info {};
    if (lstat(path, &info) < 0) continue;
    if (S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode)) {
      bool made = mknodat(directory, name, info.st_mode, info.st_rdev) == 0;
      if (made && fchownat(directory, name, info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        unlinkat(directory, name, 0);  // rather none than one with the wrong owner
    } else if (S_ISDIR(info.st_mode) && depth < 3 && strcmp(path, "/dev/pts") != 0 &&
               strcmp(path, "/dev/shm") != 0 && strcmp(path, "/dev/mqueue") != 0) {
      mkdirat(directory, name, 0755);
      Fd below(openat(directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (below.valid()) copy_devices(path, below.get(), depth + 1);
    }
  }
  closedir(stream);
}

}  // namespace

void make_device(const Child& child, int root, const DeviceSpec& device) {
  char parent[4200];
  snprintf(parent, sizeof parent, "%s", device.target);
  char* slash = strrchr(parent, '/');
  if (slash == nullptr || slash[1] == '\0') fail(child, EINVAL, "device path \"%s\"", device.target);
  const char* name = device.target + (slash - parent) + 1;
  *slash = '\0';
  Fd directory(make_in_root(root, parent[0] != '\0' ? parent : "/", true));
  mode_t mode = (device.block ? S_IFBLK : S_IFCHR) | 0660;
  if (!directory.valid() ||
      mknodat(directory.get(), name, mode, makedev(device.major, device.minor)) < 0)
    fail(child, errno, "make device \"%s\"", device.target);
}

void make_devices(const Child& child, int root, bool privileged) {
  umask(0);  // devices are for everyone; set back below
  Fd directory(open_in_root(root, "/dev", O_RDONLY | O_DIRECTORY));
  if (!directory.valid()) fail(child, errno, "open /dev");
  for (const Device& device : kDevices) {
    if (mknodat(directory.get(), device.name, S_IFCHR | 0666, makedev(device.major, device.minor)) < 0 &&
        !bind_device(directory.get(), device.name))
      fail(child, errno, "make /dev/%s", device.name);
  }
  for (const Link& link : kLinks)
    if (symlinkat(link.target, directory.get(), link.name) < 0) fail(child, errno, "link /dev/%s", link.name);
  if (privileged) copy_devices("/dev", directory.get(), 0);
  umask(022);
}

}  // namespace skiff::init
