#include "cluster/daemon.hpp"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/encoding.hpp"
#include "cluster/state.hpp"
#include "sys/files.hpp"
#include "sys/process.hpp"

extern char** environ;

namespace skiff::cluster {
namespace {

constexpr int kProgressFd = 3;

// Reads lines until end of file; `take` returns false to stop early.
Status read_lines(const UniqueFd& fd, const std::function<bool(const std::string&)>& take) {
  std::string pending;
  for (;;) {
    TRY_ASSIGN(std::string part, sys::read_some(fd, 4096, "progress"));
    if (part.empty()) return ok();
    pending += part;
    for (size_t end; (end = pending.find('\n')) != std::string::npos; pending.erase(0, end + 1))
      if (!take(pending.substr(0, end))) return ok();
  }
}

// The last lines of the log, for a process that ended without a word.
std::string log_tail(const std::string& path) {
  Result<std::string> text = sys::read_file(path);
  if (!text.ok()) return "";
  std::vector<std::string> lines = split(text.value(), '\n');
  std::string tail;
  for (size_t i = lines.size() > 6 ? lines.size() - 6 : 0; i < lines.size(); ++i) tail += "\n  " + lines[i];
  return tail;
}

}  // namespace

Status launch_daemon(const ClusterConfig& config, std::vector<std::string> arguments,
                     const std::function<void(const std::string&)>& on_step) {
  Paths paths(config);
  TRY(sys::make_directories(paths.root(), 0700));
  TRY_ASSIGN(sys::Pipe progress, sys::make_pipe());
  TRY_ASSIGN(UniqueFd log, sys::open(paths.log(), O_WRONLY | O_CREAT | O_APPEND, 0600));
  TRY_ASSIGN(UniqueFd null, sys::open("/dev/null", O_RDONLY));
  TRY_ASSIGN(std::string self, sys::read_link("/proc/self/exe"));
  arguments.insert(arguments.begin(), "skiff");
  arguments.push_back(fmt::format("--progress-fd={}", kProgressFd));
  sys::LaunchSpec spec{.program = self,
                       .arguments = std::move(arguments),
                       .environment = {},
                       .inherit = {{null.get(), 0}, {log.get(), 1}, {log.get(), 2}, {progress.write.get(), kProgressFd}},
                       .new_session = true};
  for (char** variable = environ; *variable; ++variable) spec.environment.emplace_back(*variable);
  TRY(sys::launch(spec));
  progress.write.reset();
  bool ready = false;
  std::string failure;
  TRY(read_lines(progress.read, [&](const std::string& line) {
    if (line.starts_with("step ")) on_step(line.substr(5));
    if (line.starts_with("error ")) failure = line.substr(6);
    ready = line == "ready";
    return !ready;
  }));
  if (ready) return ok();
  if (!failure.empty()) return Error(Code::Unavailable, failure);
  return error(Code::Unavailable, "the cluster's process ended before it was ready; {} ends with:{}", paths.log(),
               log_tail(paths.log()));
}

void ProgressPipe::write(const std::string& line) {
  if (fd_ < 0) return;
  std::string text = line + "\n";
  // A reader that left (Ctrl-C on `skiff start`) must not stop the cluster.
  [[maybe_unused]] ssize_t written = ::write(fd_, text.data(), text.size());
}

void ProgressPipe::failed(const Error& error) {
  std::string text = error.message();
  for (char& c : text) c = c == '\n' ? ' ' : c;
  write("error " + text);
}

Status stop_daemon(const ClusterConfig& config, Duration patience) {
  pid_t pid = running_process(Paths(config));
  if (pid == 0) return error(Code::NotFound, "cluster '{}' is not running", config.name);
  TRY_ASSIGN(UniqueFd process, sys::open_pidfd(pid));
  TRY(sys::send_signal(process, SIGTERM));
  TRY_ASSIGN(bool ended, sys::wait_ended(process, patience));
  if (!ended) return error(Code::Timeout, "process {} of cluster '{}' does not end", pid, config.name);
  return ok();
}

namespace {
sigset_t end_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}
}  // namespace

void block_signals() {
  sigset_t set = end_signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

void wait_for_signal() {
  sigset_t set = end_signals();
  int got = 0;
  while (::sigwait(&set, &got) != 0) continue;
}

}  // namespace skiff::cluster
