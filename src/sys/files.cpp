#include "sys/files.hpp"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include <atomic>
#include <memory>

namespace skiff::sys {

Result<UniqueFd> open(const std::string& path, int flags, mode_t mode) {
  int fd = retry_eintr([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); });
  if (fd < 0) return errno_error(errno, "open '{}'", path);
  return UniqueFd(fd);
}

Result<UniqueFd> open_at(const UniqueFd& directory, const std::string& path, int flags, mode_t mode) {
  int fd = retry_eintr([&] { return ::openat(directory.get(), path.c_str(), flags | O_CLOEXEC, mode); });
  if (fd < 0) return errno_error(errno, "openat '{}'", path);
  return UniqueFd(fd);
}

Result<std::string> read_some(const UniqueFd& fd, size_t size, std::string_view name) {
  std::string data(size, '\0');
  ssize_t got = retry_eintr([&] { return ::read(fd.get(), data.data(), data.size()); });
  if (got < 0) return errno_error(errno, "read '{}'", name);
  data.resize(static_cast<size_t>(got));
  return data;
}

Result<std::string> read_file(const std::string& path, size_t limit) {
  TRY_ASSIGN(UniqueFd fd, open(path, O_RDONLY));
  std::string content;
  for (;;) {
    TRY_ASSIGN(std::string part, read_some(fd, 65536, path));
    if (part.empty()) return content;
    content += part;
    if (content.size() > limit) return error(Code::TooLarge, "read '{}': larger than {} bytes", path, limit);
  }
}

Status write_all(const UniqueFd& fd, std::string_view data, std::string_view name) {
  while (!data.empty()) {
    ssize_t written = retry_eintr([&] { return ::write(fd.get(), data.data(), data.size()); });
    if (written < 0) return errno_error(errno, "write '{}'", name);
    data.remove_prefix(static_cast<size_t>(written));
  }
  return ok();
}

Status write_file(const std::string& path, std::string_view data, mode_t mode) {
  TRY_ASSIGN(UniqueFd fd, open(path, O_WRONLY | O_CREAT | O_TRUNC, mode));
  return write_all(fd, data, path);
}

Status replace_file(const std::string& path, std::string_view data, mode_t mode) {
  static std::atomic<unsigned> serial{0};
  std::string draft = fmt::format("{}.{}.{}.tmp", path, ::getpid(), serial++);
  auto write_draft = [&]() -> Status {
    TRY_ASSIGN(UniqueFd fd, open(draft, O_WRONLY | O_CREAT | O_EXCL, mode));
    if (::fchmod(fd.get(), mode) < 0) return errno_error(errno, "fchmod '{}'", draft);  // past the umask
    TRY(write_all(fd, data, draft));
    if (::fsync(fd.get()) < 0) return errno_error(errno, "fsync '{}'", draft);
    return rename(draft, path);
  };
  Status written = write_draft();
  if (!written.ok()) ::unlink(draft.c_str());
  return written;
}

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

Result<struct stat> stat_of(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) < 0) return errno_error(errno, "stat '{}'", path);
  return info;
}

Status make_directory(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) == 0) return ok();
  int failure = errno;
  struct stat info {};
  if (failure == EEXIST && ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return ok();
  return errno_error(failure, "mkdir '{}'", path);
}

Status make_directories(const std::string& path, mode_t mode) {
  // Mostly only the last part is missing.
  if (Status made = make_directory(path, mode); made.ok() || made.error().sys_errno() != ENOENT) return made;
  for (size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1))
    TRY(make_directory(path.substr(0, slash), 0755));
  return make_directory(path, mode);
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
  if (!directory) {
    if (errno == ENOENT) return error(Code::NotFound, "opendir '{}': no such directory", path);
    return errno_error(errno, "opendir '{}'", path);
  }
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(directory.get())) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  return names;
}

Status remove_file(const std::string& path) {
  if (::unlink(path.c_str()) < 0 && errno != ENOENT) return errno_error(errno, "unlink '{}'", path);
  return ok();
}

namespace {

// Removes what is in `directory` (consumed), staying on `device`.
Status remove_entries(UniqueFd directory, const std::string& path, dev_t device) {
  std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(directory.get()), ::closedir);
  if (!stream) return errno_error(errno, "fdopendir '{}'", path);
  int parent = directory.release();  // now the stream's
  while (const dirent* entry = ::readdir(stream.get())) {
    std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    std::string child = path + "/" + name;
    struct stat info {};
    if (::fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) < 0) {
      if (errno == ENOENT) continue;
      return errno_error(errno, "stat '{}'", child);
    }
    if (info.st_dev != device) return error(Code::System, "remove '{}': something is mounted there", child);
    bool is_directory = S_ISDIR(info.st_mode);
    if (is_directory) {
      UniqueFd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!fd) return errno_error(errno, "open '{}'", child);
      TRY(remove_entries(std::move(fd), child, device));
    }
    if (::unlinkat(parent, name.c_str(), is_directory ? AT_REMOVEDIR : 0) < 0 && errno != ENOENT)
      return errno_error(errno, "remove '{}'", child);
  }
  return ok();
}

}  // namespace

Status remove_tree(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) < 0) return errno == ENOENT ? ok() : Status(errno_error(errno, "stat '{}'", path));
  if (!S_ISDIR(info.st_mode)) return remove_file(path);
  TRY_ASSIGN(UniqueFd fd, open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  TRY(remove_entries(std::move(fd), path, info.st_dev));
  if (::rmdir(path.c_str()) < 0 && errno != ENOENT) return errno_error(errno, "rmdir '{}'", path);
  return ok();
}

Status rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) < 0) return errno_error(errno, "rename '{}' to '{}'", from, to);
  return ok();
}

Status symlink(const std::string& target, const std::string& path) {
  if (::symlink(target.c_str(), path.c_str()) < 0) return errno_error(errno, "symlink '{}'", path);
  return ok();
}

Result<std::string> read_link(const std::string& path) {
  char target[PATH_MAX];
  ssize_t length = ::readlink(path.c_str(), target, sizeof target);
  if (length < 0) return errno_error(errno, "readlink '{}'", path);
  return std::string(target, static_cast<size_t>(length));
}

Status sync_directory(const std::string& path) {
  TRY_ASSIGN(UniqueFd fd, open(path, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) < 0) return errno_error(errno, "fsync '{}'", path);
  return ok();
}

Result<UniqueFd> duplicate(const UniqueFd& fd) {
  int copy = ::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return errno_error(errno, "fcntl F_DUPFD_CLOEXEC");
  return UniqueFd(copy);
}

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return errno_error(errno, "pipe2");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace skiff::sys
