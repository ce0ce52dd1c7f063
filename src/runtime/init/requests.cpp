#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "node.hpp"

namespace skiff::init {
namespace {

void copy_labels(const Buffer& from, Buffer& to) {
  wire::FieldReader reader(from.data(), from.size());
  for (wire::Field field; reader.next(field);)
    if (field.tag == wire::Tag::Label) wire::put_text(to, wire::Tag::Label, field.text());
}

void put_sandbox(const Sandbox& sandbox, Buffer& out) {
  Buffer nested;
  wire::put_text(nested, wire::Tag::Id, sandbox.id);
  copy_labels(sandbox.fields, nested);
  wire::put(out, wire::Tag::Sandbox, nested.data(), nested.size());
}

}  // namespace

void put_container(const Container& container, Buffer& nested) {
  wire::put_text(nested, wire::Tag::Id, container.spec.id);
  wire::put_text(nested, wire::Tag::SandboxId, container.spec.sandbox);
  wire::put_text(nested, wire::Tag::LogPath, container.spec.log_path);
  wire::put_number(nested, wire::Tag::State, static_cast<uint64_t>(container.state));
  wire::put_number(nested, wire::Tag::Pid, static_cast<uint64_t>(container.pid));
  wire::put_number(nested, wire::Tag::ExitCode, static_cast<uint64_t>(container.exit_code));
  wire::put_number(nested, wire::Tag::Signal, static_cast<uint64_t>(container.signal));
  wire::put_number(nested, wire::Tag::StartedAt, container.started_at);
  wire::put_number(nested, wire::Tag::FinishedAt, container.finished_at);
  if (container.identity != nullptr) wire::put_text(nested, wire::Tag::Identity, container.identity);
  copy_labels(container.spec.fields, nested);
}

namespace {

/// A pipe whose read end goes to a client and whose other end `stream` copies into.
bool add_tap(LogStream& stream, Array<int>& fds) {
  int ends[2];
  if (!stream.open()) return true;
  if (pipe2(ends, O_CLOEXEC) < 0) return false;
  fcntl(ends[1], F_SETFL, O_WRONLY | O_NONBLOCK);
  fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);  // a reader may be this far behind
  stream.add_tap(ends[1]);
  fds.push(ends[0]);
  return true;
}

}  // namespace

void Node::hello(const Request& request) {
  Message message;
  wire::put_number(message.fields, wire::Tag::Version, wire::kVersion);
  Fd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  message.fds.push(root.get());
  message.fds.push(own_network_.get());
  server_.reply(request, message);
}

void Node::list(const Request& request) {
  Message message;
  for (const Sandbox* sandbox : sandboxes_) put_sandbox(*sandbox, message.fields);
  for (const Container* container : containers_) {
    Buffer nested;
    put_container(*container, nested);
    wire::put(message.fields, wire::Tag::Container, nested.data(), nested.size());
  }
  server_.reply(request, message);
}

void Node::signal_container(const Request& request, const Buffer& fields) {
  const char* id = text_of(fields, wire::Tag::Id);
  Container* container = find_container(id);
  if (container == nullptr) return reply_no_container(request, id);
  auto number = static_cast<int>(number_of(fields, wire::Tag::Signal));
  // Not reaped yet, so the pid is still this container's.
  if (container->pid > 0 && kill(container->pid, number) < 0)
    return server_.reply_failure(request, errno, "kill");
  done(request);
}

void Node::remove_container(const Request& request, const Buffer& fields) {
  Container* container = find_container(text_of(fields, wire::Tag::Id));
  if (container == nullptr) return done(request);
  if (container->state != wire::State::Exited)
    return server_.reply_error(request, EBUSY, "the container is running");
  for (size_t i = execs_.size(); i-- > 0;)
    if (execs_[i]->container == container) forget_exec(*execs_[i]);
  forget_container(*container);
  done(request);
}

void Node::attach(const Request& request, const Buffer& fields) {
  const char* id = text_of(fields, wire::Tag::Id);
  Container* container = find_container(id);
  if (container == nullptr) return reply_no_container(request, id);
  // A process closes its output long before its end is told: its namespaces are taken down in between.
  bool ending = !container->out.open() && !container->err.open();
  if (container->state != wire::State::Running || ending)
    return server_.reply_error(request, ESRCH, "container is not running");
  Message message;
  // Input first: the terminal, or stdin's write end where it was asked for; the reply says which are there.
  const Fd& input = container->terminal.valid() ? container->terminal : container->input;
  wire::put_number(message.fields, wire::Tag::Stdin, input.valid() && container->spec.wants_stdin);
  wire::put_number(message.fields, wire::Tag::Tty, container->terminal.valid());
  if (input.valid() && container->spec.wants_stdin) message.fds.push(input.get());
  size_t first_tap = message.fds.size();
  if (!add_tap(container->out, message.fds) || !add_tap(container->err, message.fds))
    server_.reply_failure(request, errno, "attach");
  else
    server_.reply(request, message);
  for (size_t i = first_tap; i < message.fds.size(); ++i) close(message.fds[i]);
}

void Node::resize(const Request& request, const Buffer& fields) {
  const char* id = text_of(fields, wire::Tag::Id);
  Container* container = find_container(id);
  if (container == nullptr) return reply_no_container(request, id);
  winsize size{};
  size.ws_row = static_cast<unsigned short>(number_of(fields, wire::Tag::Rows));
  size.ws_col = static_cast<unsigned short>(number_of(fields, wire::Tag::Columns));
  if (container->terminal.valid()) ioctl(container->terminal.get(), TIOCSWINSZ, &size);
  done(request);
}

void Node::close_stdin(const Request& request, const Buffer& fields) {
  Container* container = find_container(text_of(fields, wire::Tag::Id));
  if (container != nullptr) container->input.reset();
  done(request);
}

void Node::reopen_log(const Request& request, const Buffer& fields) {
  const char* id = text_of(fields, wire::Tag::Id);
  Container* container = find_container(id);
  if (container == nullptr) return reply_no_container(request, id);
  if (!container->log.reopen()) return server_.reply_failure(request, errno, "reopen the log");
  done(request);
}

}  // namespace skiff::init
