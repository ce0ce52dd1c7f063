#pragma once
// Child processes. Everything between fork and exec happens in the C library's posix_spawn: this process is
// threaded, so nothing else may run there.

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/fd.hpp"

namespace skiff::sys {

struct LaunchSpec {
  std::string program;                 // a path; "/proc/self/fd/N" works for a sealed memfd
  std::vector<std::string> arguments;  // arguments[0] is the name the process shows
  std::vector<std::string> environment;
  std::vector<std::pair<int, int>> inherit;  // {our descriptor, its number in the child}
  bool new_session = false;
};

/// Starts a program with only stdin, stdout, stderr and the inherited descriptors. The caller reaps it.
Result<pid_t> launch(const LaunchSpec& spec);

/// Waits for our own child `pid`; its exit status as the shell counts (128 + signal).
Result<int> reap(pid_t pid);

Result<UniqueFd> open_pidfd(pid_t pid);
Status send_signal(const UniqueFd& pidfd, int signal);  // NotFound: it is gone

/// Waits until the process has ended; false when `limit` passed first. Works for any process, not only
/// children.
Result<bool> wait_ended(const UniqueFd& pidfd, Duration limit);

/// A memfd holding `content`, executable and sealed: nobody, not even root in a container, can change it.
Result<UniqueFd> sealed_program(const std::string& name, std::string_view content);

}  // namespace skiff::sys
