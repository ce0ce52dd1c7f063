#include "sys/cgroup.hpp"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <cmath>

#include "base/encoding.hpp"
#include "sys/cgroup_files.hpp"

namespace skiff::sys {
namespace {

bool is_directory(const std::string& path) {
  Result<struct stat> info = stat_of(path);
  return info.ok() && S_ISDIR(info.value().st_mode);
}

std::vector<std::string> subdirectories(const std::string& path) {
  std::vector<std::string> found;
  Result<std::vector<std::string>> names = list_directory(path);
  if (!names.ok()) return found;
  for (const std::string& name : names.value())
    if (is_directory(path + "/" + name)) found.push_back(name);
  return found;
}

void signal_in(const std::string& directory, int signal) {
  Result<std::string> pids = read_file(directory + "/cgroup.procs");
  if (!pids.ok()) return;
  for (const std::string& line : split(pids.value(), '\n')) {
    pid_t pid = 0;
    std::from_chars(line.data(), line.data() + line.size(), pid);
    if (pid > 0) ::kill(pid, signal);  // 0 would be our own group: a process outside our PID namespace
  }
}

void signal_below(const std::string& directory, int signal) {
  for (const std::string& child : subdirectories(directory)) signal_below(directory + "/" + child, signal);
  signal_in(directory, signal);
}

void kill_below(const std::string& directory) {
  for (const std::string& child : subdirectories(directory)) kill_below(directory + "/" + child);
  if (!write_existing(directory + "/cgroup.kill", "1")) signal_in(directory, SIGKILL);
}

/// True when nothing is left; EBUSY means processes are still dying.
Result<bool> remove_directory_once(const std::string& directory) {
  bool all_gone = true;
  for (const std::string& child : subdirectories(directory)) {
    TRY_ASSIGN(bool gone, remove_directory_once(directory + "/" + child));
    all_gone = all_gone && gone;
  }
  if (::rmdir(directory.c_str()) == 0 || errno == ENOENT) return all_gone;
  if (errno == EBUSY || errno == ENOTEMPTY) return false;
  return errno_error(errno, "rmdir '{}'", directory);
}

}  // namespace

bool write_existing(const std::string& path, std::string_view text) {
  if (!exists(path)) return false;
  return write_file(path, text).ok();
}

std::uint64_t read_number(const std::string& path) {
  Result<std::string> text = read_file(path);
  std::uint64_t number = 0;
  if (text.ok()) std::from_chars(text.value().data(), text.value().data() + text.value().size(), number);
  return number;
}

std::uint64_t keyed(std::string_view text, std::string_view key) {
  for (size_t at = 0; at < text.size();) {
    std::string_view line = text.substr(at, text.find('\n', at) - at);
    at += line.size() + 1;
    if (line.size() <= key.size() || !line.starts_with(key) || line[key.size()] != ' ') continue;
    std::uint64_t number = 0;
    std::from_chars(line.data() + key.size() + 1, line.data() + line.size(), number);
    return number;
  }
  return 0;
}

std::uint64_t read_keyed(const std::string& path, std::string_view key) {
  Result<std::string> text = read_file(path);
  return text.ok() ? keyed(text.value(), key) : 0;
}

std::uint64_t cpu_weight_of_shares(std::uint64_t shares) {
  if (shares <= 2) return 1;
  if (shares >= 262144) return 10000;
  double log = std::log2(static_cast<double>(shares));
  double exponent = (log * log + 125 * log) / 612.0 - 7.0 / 34.0;  // fits minimum, default and maximum
  return static_cast<std::uint64_t>(std::ceil(std::pow(10, exponent)));
}

Result<std::unique_ptr<CgroupTree>> CgroupTree::detect(const std::string& root) {
  if (sys::exists(root + "/cgroup.controllers")) return cgroup_v2(root);
  if (is_directory(root + "/memory") && is_directory(root + "/cpu")) return cgroup_v1(root);
  return error(Code::Unavailable, "no cgroup controllers at '{}': mount cgroup2 there", root);
}

Status CgroupTree::add(const std::string& group, pid_t pid) {
  for (const std::string& directory : directories(group))
    TRY(write_file(directory + "/cgroup.procs", std::to_string(pid)));
  return ok();
}

Status CgroupTree::kill_all(const std::string& group) {
  for (const std::string& directory : directories(group)) kill_below(directory);
  return ok();
}

Status CgroupTree::signal_all(const std::string& group, int signal) {
  for (const std::string& directory : directories(group)) signal_below(directory, signal);
  return ok();
}

Status CgroupTree::remove(const std::string& group, Clock& clock, Duration limit) {
  TimePoint deadline = clock.now() + limit;
  for (const std::string& directory : directories(group)) {
    for (Duration pause = 1ms;; pause = std::min<Duration>(pause * 2, 50ms)) {
      TRY_ASSIGN(bool gone, remove_directory_once(directory));
      if (gone) break;
      kill_below(directory);  // also those that were forked since
      if (clock.now() >= deadline) return errno_error(EBUSY, "remove cgroup '{}'", directory);
      clock.wait_for({}, pause);
    }
  }
  return ok();
}

Status CgroupTree::remove_if_empty(const std::string& group) {
  for (const std::string& directory : directories(group))
    if (::rmdir(directory.c_str()) < 0 && errno != ENOENT && errno != EBUSY && errno != ENOTEMPTY)
      return errno_error(errno, "rmdir '{}'", directory);
  return ok();
}

bool CgroupTree::exists(const std::string& group) const { return sys::exists(directories(group).front()); }

std::vector<std::string> CgroupTree::children(const std::string& group) const {
  return subdirectories(directories(group).front());
}

}  // namespace skiff::sys
