#include "kubelet/ownership.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

mode_t wanted_bits(bool directory, const GroupChange& change) {
  mode_t bits = change.read_only ? 0440 : 0660;
  return directory ? bits | S_ISGID | 0110 : bits;
}

Status change_one(int directory, const char* name, const struct stat& info, const GroupChange& change) {
  if (::fchownat(directory, name, static_cast<uid_t>(-1), static_cast<gid_t>(change.group), AT_SYMLINK_NOFOLLOW) < 0)
    return errno_error(errno, "lchown '{}'", name);
  if (S_ISLNK(info.st_mode)) return ok();
  mode_t mode = (info.st_mode & 07777) | wanted_bits(S_ISDIR(info.st_mode), change);
  // fchmodat cannot be told not to follow: by a descriptor of what was looked at, or the name could mean a link by now.
  UniqueFd file(::openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!file) return errno_error(errno, "open '{}'", name);
  struct stat now {};
  if (::fstat(file.get(), &now) < 0 || S_ISLNK(now.st_mode)) return ok();
  if (::chmod(fmt::format("/proc/self/fd/{}", file.get()).c_str(), mode) < 0) return errno_error(errno, "chmod '{}'", name);
  return ok();
}

struct CloseDirectory {
  void operator()(DIR* stream) const { ::closedir(stream); }
};

Status change_below(UniqueFd directory, const GroupChange& change) {
  std::unique_ptr<DIR, CloseDirectory> stream(::fdopendir(directory.get()));
  if (!stream) return errno_error(errno, "read a directory");
  int fd = directory.release();  // the stream's from here on
  while (dirent* entry = ::readdir(stream.get())) {
    std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat info {};
    if (::fstatat(fd, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0) {
      if (errno == ENOENT) continue;  // removed meanwhile
      return errno_error(errno, "stat '{}'", name);
    }
    if (S_ISDIR(info.st_mode)) {
      UniqueFd below(::openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (below) TRY(change_below(std::move(below), change));
    }
    Status changed = change_one(fd, entry->d_name, info, change);
    if (!changed.ok() && changed.error().sys_errno() != ENOENT) return changed;
  }
  return ok();
}

bool root_matches(const struct stat& root, const GroupChange& change) {
  mode_t bits = wanted_bits(S_ISDIR(root.st_mode), change);
  return root.st_gid == static_cast<gid_t>(change.group) && (root.st_mode & bits) == bits;
}

}  // namespace

Status give_to_group(const std::string& path, const GroupChange& change) {
  TRY_ASSIGN(struct stat root, sys::stat_of(path));
  if (change.only_on_mismatch && root_matches(root, change)) return ok();
  if (S_ISDIR(root.st_mode)) {
    TRY_ASSIGN(UniqueFd directory, sys::open(path, O_RDONLY | O_DIRECTORY));
    TRY(change_below(std::move(directory), change));
  }
  Status changed = change_one(AT_FDCWD, path.c_str(), root, change);
  return changed.ok() ? changed : Status(std::move(changed).error().in(path));
}

}  // namespace skiff::kubelet
