#include "sys/process.hpp"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

extern "C" {
#include <sys/pidfd.h>  // glibc 2.36 forgot C++ here
}

#include "sys/files.hpp"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

namespace skiff::sys {
namespace {

std::vector<char*> c_strings(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

struct SpawnOptions {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnOptions() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
  }
  ~SpawnOptions() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnOptions(const SpawnOptions&) = delete;
  SpawnOptions& operator=(const SpawnOptions&) = delete;
};

}  // namespace

Result<pid_t> launch(const LaunchSpec& spec) {
  SpawnOptions options;
  for (auto [ours, theirs] : spec.inherit)
    ::posix_spawn_file_actions_adddup2(&options.actions, ours, theirs);  // also clears close-on-exec
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (spec.new_session) flags = static_cast<short>(flags | POSIX_SPAWN_SETSID);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  ::posix_spawnattr_setsigmask(&options.attributes, &none);
  ::posix_spawnattr_setsigdefault(&options.attributes, &all);
  ::posix_spawnattr_setflags(&options.attributes, flags);
  std::vector<char*> arguments = c_strings(spec.arguments), environment = c_strings(spec.environment);
  pid_t pid = 0;
  int failed = ::posix_spawn(&pid, spec.program.c_str(), &options.actions, &options.attributes,
                             arguments.data(), environment.data());
  if (failed != 0) return errno_error(failed, "start '{}'", spec.program);
  return pid;
}

Result<int> reap(pid_t pid) {
  int status = 0;
  if (retry_eintr([&] { return ::waitpid(pid, &status, 0); }) < 0)
    return errno_error(errno, "waitpid {}", pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Result<UniqueFd> open_pidfd(pid_t pid) {
  int fd = ::pidfd_open(pid, 0);
  if (fd < 0) return errno_error(errno, "pidfd_open {}", pid);
  return UniqueFd(fd);
}

Status send_signal(const UniqueFd& pidfd, int signal) {
  if (::pidfd_send_signal(pidfd.get(), signal, nullptr, 0) == 0) return ok();
  if (errno == ESRCH) return error(Code::NotFound, "the process has ended");
  return errno_error(errno, "pidfd_send_signal {}", signal);
}

Result<bool> wait_ended(const UniqueFd& pidfd, Duration limit) {
  pollfd waiting{pidfd.get(), POLLIN, 0};
  auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(limit).count();
  int got = retry_eintr([&] { return ::poll(&waiting, 1, static_cast<int>(milliseconds)); });
  if (got < 0) return errno_error(errno, "poll a pidfd");
  return got > 0;
}

Result<UniqueFd> sealed_program(const std::string& name, std::string_view content) {
  unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  int fd = ::memfd_create(name.c_str(), flags | MFD_EXEC);
  if (fd < 0 && errno == EINVAL) fd = ::memfd_create(name.c_str(), flags);  // before Linux 6.3
  if (fd < 0) return errno_error(errno, "memfd_create '{}'", name);
  UniqueFd program(fd);
  TRY(write_all(program, content, name));
  if (::fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
    return errno_error(errno, "seal memfd '{}'", name);
  return program;
}

}  // namespace skiff::sys
