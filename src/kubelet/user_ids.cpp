#include "kubelet/user_ids.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <charconv>

#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

// Above what systemd gives to containers and users, below what signed programs take for negative.
constexpr uid_t kFirst = 0x70000000, kEnd = 0x7fff0000;

std::string record_of(const std::string& pod_directory) { return pod_directory + "/userns"; }

Result<uid_t> recorded(const std::string& pod_directory) {
  TRY_ASSIGN(std::string text, sys::read_file(record_of(pod_directory)));
  uid_t first = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), first).ec != std::errc() || first < kFirst || first >= kEnd)
    return error(Code::Invalid, "'{}' is damaged", record_of(pod_directory));
  return first;
}

}  // namespace

Result<bool> UserIds::try_block(uid_t first, const std::string& pod_directory) const {
  const std::string path = fmt::format("{}/{}", directory_, first);
  if (Result<std::string> owner = sys::read_file(path); owner.ok() && owner.value() != pod_directory && sys::exists(owner.value()))
    return false;
  TRY(sys::replace_file(path, pod_directory, 0600));
  return true;
}

Result<uid_t> UserIds::take(const std::string& pod_directory) const {
  if (sys::exists(record_of(pod_directory))) return recorded(pod_directory);
  TRY(sys::make_directories(directory_, 0700));
  TRY_ASSIGN(UniqueFd lock, sys::open(directory_ + "/lock", O_RDWR | O_CREAT, 0600));
  if (sys::retry_eintr([&] { return ::flock(lock.get(), LOCK_EX); }) < 0) return errno_error(errno, "flock '{}'", directory_);
  for (uid_t first = kFirst; first < kEnd; first += runtime::kIdsOfPod) {
    TRY_ASSIGN(bool taken, try_block(first, pod_directory));
    if (!taken) continue;
    TRY(sys::replace_file(record_of(pod_directory), std::to_string(first), 0600));
    return first;
  }
  return error(Code::Unavailable, "could not find an empty slot to allocate a user namespace");
}

Status UserIds::give_back(const std::string& pod_directory) const {
  if (!sys::exists(record_of(pod_directory))) return ok();
  Result<uid_t> first = recorded(pod_directory);
  if (first.ok()) TRY(sys::remove_file(fmt::format("{}/{}", directory_, first.value())));
  return sys::remove_file(record_of(pod_directory));
}

}  // namespace skiff::kubelet
