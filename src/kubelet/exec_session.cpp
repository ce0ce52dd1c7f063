#include "kubelet/exec_session.hpp"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

constexpr Duration kExitPoll = 100ms;
constexpr int kInputPollMilliseconds = 200;

UniqueFd duplicate(const UniqueFd& fd) { return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3)); }

}  // namespace

CommandSession::CommandSession(runtime::Node& node, runtime::ExecSession session,
                               const client::ExecOptions& options)
    : node_(node), id_(session.id), terminal_(std::move(session.streams.terminal)) {
  if (terminal_) {
    if (options.in) in = duplicate(terminal_);
    out = duplicate(terminal_);
    return;
  }
  in = std::move(session.streams.input);
  // A stream nobody asked for is closed: what the program writes there has no reader.
  if (options.out) out = std::move(session.streams.output);
  if (options.err) err = std::move(session.streams.error);
}

CommandSession::~CommandSession() {
  if (ended_) return;
  (void)node_.signal_exec(id_, SIGKILL).ok();  // it may have ended by itself
  (void)node_.wait_exec(id_, {}).ok();
}

Status CommandSession::resize(std::uint16_t columns, std::uint16_t rows) {
  winsize size{rows, columns, 0, 0};
  if (terminal_ && ::ioctl(terminal_.get(), TIOCSWINSZ, &size) < 0)
    return errno_error(errno, "resize the terminal");
  return ok();
}

Result<client::ExitStatus> CommandSession::wait(std::stop_token stop) {
  TRY_ASSIGN(int code, node_.wait_exec(id_, std::move(stop)));
  ended_ = true;
  return client::ExitStatus{code};
}

AttachSession::AttachSession(Target target, runtime::Streams streams, const client::ExecOptions& options,
                             bool stdin_once)
    : target_(std::move(target)) {
  if (options.out) out = std::move(streams.output);
  if (options.err && !options.tty) err = std::move(streams.error);
  if (!options.in || !streams.input) return;
  Result<sys::Pipe> pipe = sys::make_pipe();
  if (!stdin_once || !pipe.ok()) {
    in = std::move(streams.input);
    return;
  }
  in = std::move(pipe.value().write);
  input_ = std::jthread([this, from = std::move(pipe.value().read),
                         to = std::move(streams.input)](std::stop_token stop) mutable {
    forward_input(std::move(from), std::move(to), stop);
  });
}

void AttachSession::forward_input(UniqueFd from, UniqueFd to, std::stop_token stop) {
  while (!stop.stop_requested()) {
    pollfd waiting{from.get(), POLLIN, 0};
    if (::poll(&waiting, 1, kInputPollMilliseconds) <= 0) continue;
    Result<std::string> part = sys::read_some(from, 65536, "attached input");
    if (!part.ok() || part.value().empty()) break;
    if (!sys::write_all(to, part.value(), "container input").ok()) return;
  }
  to.reset();
  (void)target_.node.close_stdin(target_.container).ok();  // the container may be gone
}

Status AttachSession::resize(std::uint16_t columns, std::uint16_t rows) {
  return target_.node.resize(target_.container, rows, columns);
}

Result<client::ExitStatus> AttachSession::wait(std::stop_token stop) {
  while (target_.running())
    if (!target_.clock.wait_for(stop, kExitPoll)) return error(Code::Canceled, "attach was canceled");
  return client::ExitStatus{0};
}

}  // namespace skiff::kubelet
