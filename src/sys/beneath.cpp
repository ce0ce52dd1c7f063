#include "sys/beneath.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/encoding.hpp"
#include "sys/files.hpp"

namespace skiff::sys {

namespace {

Result<UniqueFd> open_how_at(const UniqueFd& directory, const std::string& path, open_how how) {
  long fd = 0;
  do {
    fd = ::syscall(SYS_openat2, directory.get(), path.c_str(), &how, sizeof how);
  } while (fd < 0 &&
           (errno == EINTR || errno == EAGAIN));  // EAGAIN: a rename elsewhere made the kernel unsure
  if (fd < 0) return errno_error(errno, "openat2 '{}'", path);
  return UniqueFd(static_cast<int>(fd));
}

}  // namespace

Result<UniqueFd> open_within(const UniqueFd& directory, const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return open_how_at(directory, path, how);
}

Status make_within(const UniqueFd& directory, const std::string& path, mode_t mode) {
  std::string done;
  TRY_ASSIGN(UniqueFd parent, duplicate(directory));
  for (const std::string& part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    done += (done.empty() ? "" : "/") + part;
    Result<UniqueFd> next = open_within(directory, done);
    if (!next.ok() && next.error().sys_errno() == ENOENT) {
      if (::mkdirat(parent.get(), part.c_str(), mode) < 0 && errno != EEXIST) return errno_error(errno, "mkdir '{}'", done);
      // The umask took bits away; what the name means now is checked by opening it within the directory.
      next = open_within(directory, done);
      if (next.ok() && ::chmod(fmt::format("/proc/self/fd/{}", next.value().get()).c_str(), mode) < 0)
        return errno_error(errno, "chmod '{}'", done);
    }
    if (!next.ok()) return std::move(next).error();
    parent = std::move(next).value();
  }
  return ok();
}

Result<UniqueFd> open_beneath(const UniqueFd& directory, const std::string& path, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  return open_how_at(directory, path, how);
}

Status sync_file_system(const std::string& directory) {
  TRY_ASSIGN(UniqueFd fd, open(directory, O_RDONLY | O_DIRECTORY));
  if (::syncfs(fd.get()) < 0) return errno_error(errno, "syncfs '{}'", directory);
  return ok();
}

}  // namespace skiff::sys
