#pragma once
// Paths inside a root directory that somebody else controls: links are resolved as if the root were "/", so
// that no link of an image or a volume reaches the host (openat2 with RESOLVE_IN_ROOT).

#include <stdint.h>
#include <sys/types.h>

namespace skiff::init {

/// -1 with errno.
int open_in_root(int root, const char* path, uint64_t flags);

/// Opens (O_PATH) what `path` names below `directory`; a link that leads out of it is an error (EXDEV). -1 with errno.
int open_beneath(int directory, const char* path);

/// Opens (O_PATH) `path` in `root`, made first as a directory or an empty file when missing. -1 with errno.
int make_in_root(int root, const char* path, bool directory);

/// "/proc/self/fd/N": a name for what `fd` is open on, for calls that take only paths.
struct FdPath {
  explicit FdPath(int fd);
  char text[32];
};

}  // namespace skiff::init
