#include "sys/beneath.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/files.hpp"

namespace skiff::sys {

Result<UniqueFd> open_beneath(const UniqueFd& directory, const std::string& path, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  long fd = 0;
  do {
    fd = ::syscall(SYS_openat2, directory.get(), path.c_str(), &how, sizeof how);
  } while (fd < 0 &&
           (errno == EINTR || errno == EAGAIN));  // EAGAIN: a rename elsewhere made the kernel unsure
  if (fd < 0) return errno_error(errno, "openat2 '{}'", path);
  return UniqueFd(static_cast<int>(fd));
}

Status sync_file_system(const std::string& directory) {
  TRY_ASSIGN(UniqueFd fd, open(directory, O_RDONLY | O_DIRECTORY));
  if (::syncfs(fd.get()) < 0) return errno_error(errno, "syncfs '{}'", directory);
  return ok();
}

}  // namespace skiff::sys
