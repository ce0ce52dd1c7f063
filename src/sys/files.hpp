#pragma once
// Files and directories: one wrapper a system call. Each retries EINTR, sets close-on-exec, returns an owner and
// names its operand in the error (Code::System with errno).

#include <errno.h>
#include <sys/stat.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace skiff::sys {

/// Calls `call` until it does something other than fail with EINTR.
template <class Call>
auto retry_eintr(Call&& call) -> decltype(call()) {
  decltype(call()) result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

Result<UniqueFd> open(const std::string& path, int flags, mode_t mode = 0);
Result<UniqueFd> open_at(const UniqueFd& directory, const std::string& path, int flags, mode_t mode = 0);

/// The whole file. `limit` guards against surprises: a larger file is Code::TooLarge.
Result<std::string> read_file(const std::string& path, size_t limit = 64U << 20);
/// Up to `size` bytes; empty at end of file.
Result<std::string> read_some(const UniqueFd& fd, size_t size, std::string_view name);
Status write_all(const UniqueFd& fd, std::string_view data, std::string_view name);

/// Writes in place (cgroup and /proc files want one write(2)).
Status write_file(const std::string& path, std::string_view data, mode_t mode = 0644);
/// Writes a sibling, fsyncs and renames: `path` holds the old or the new content, whatever happens.
Status replace_file(const std::string& path, std::string_view data, mode_t mode = 0644);

bool exists(const std::string& path);
Result<struct stat> stat_of(const std::string& path);   // follows links
Status make_directory(const std::string& path, mode_t mode = 0755);   // an existing directory is fine
Status make_directories(const std::string& path, mode_t mode = 0755); // with parents
/// Names in `path` without "." and "..", unsorted. NotFound when there is no such directory.
Result<std::vector<std::string>> list_directory(const std::string& path);
Status remove_file(const std::string& path);            // a missing file is fine
/// Removes a tree without following links and without crossing into another file system.
Status remove_tree(const std::string& path);            // a missing tree is fine
Status rename(const std::string& from, const std::string& to);
Status symlink(const std::string& target, const std::string& path);
Result<std::string> read_link(const std::string& path);
Status sync_directory(const std::string& path);         // makes renames in it durable

/// Another descriptor of the same open file.
Result<UniqueFd> duplicate(const UniqueFd& fd);

/// An anonymous pipe: {read end, write end}.
struct Pipe {
  UniqueFd read, write;
};
Result<Pipe> make_pipe();

}  // namespace skiff::sys
