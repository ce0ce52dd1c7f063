#include "paths.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "memory.hpp"

namespace skiff::init {
namespace {

/// Makes the last part of `path` in the already open `parent`; somebody else making it first is fine.
bool make_entry(int parent, const char* name, bool directory) {
  if (directory) return mkdirat(parent, name, 0755) == 0 || errno == EEXIST;
  Fd file(openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
  return file.valid() || errno == EEXIST;
}

}  // namespace

int open_in_root(int root, const char* path, uint64_t flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  for (int attempt = 0;; ++attempt) {
    int fd = static_cast<int>(syscall(SYS_openat2, root, path, &how, sizeof how));
    // EAGAIN: something was renamed meanwhile and the kernel could not be sure.
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR) || attempt > 100) return fd;
  }
}

int open_beneath(int directory, const char* path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  for (int attempt = 0;; ++attempt) {
    int fd = static_cast<int>(syscall(SYS_openat2, directory, path, &how, sizeof how));
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR) || attempt > 100) return fd;
  }
}

int make_in_root(int root, const char* path, bool directory) {
  int found = open_in_root(root, path, O_PATH);
  if (found >= 0 || errno != ENOENT) return found;
  char* copy = copy_text(path);
  Fd parent(open_in_root(root, "/", O_PATH | O_DIRECTORY));
  bool made = true;
  for (char* slash = strchr(copy + (copy[0] == '/'), '/');; slash = strchr(slash + 1, '/')) {
    if (slash != nullptr) *slash = '\0';
    bool last = slash == nullptr;
    Fd next(open_in_root(root, copy, O_PATH));
    const char* name = strrchr(copy, '/') != nullptr ? strrchr(copy, '/') + 1 : copy;
    if (!next.valid() && errno == ENOENT && parent.valid() && name[0] != '\0') {
      made = make_entry(parent.get(), name, directory || !last);
      next.reset(made ? open_in_root(root, copy, O_PATH) : -1);
    }
    if (!next.valid()) {
      int failure = errno;
      free(copy);
      errno = failure;
      return -1;
    }
    parent = static_cast<Fd&&>(next);
    if (last) break;
    *slash = '/';
  }
  free(copy);
  return parent.release();
}

FdPath::FdPath(int fd) { snprintf(text, sizeof text, "/proc/self/fd/%d", fd); }

}  // namespace skiff::init
