#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

extern "C" {
#include <sys/pidfd.h>  // glibc 2.36 forgot C++ here
}

#include "child.hpp"
#include "node.hpp"

namespace skiff::init {
namespace {

const char* const* argument_vector(Array<const char*>& arguments) {
  arguments.push(nullptr);
  return arguments.begin();
}

}  // namespace

void Node::exec(const Request& request, Buffer fields) {
  auto* exec = new Exec;
  parse_exec(exec->spec, static_cast<Buffer&&>(fields));
  exec->container = find_container(exec->spec.id);
  Fd target;
  int status[2] = {-1, -1};
  const char* problem = nullptr;
  errno = 0;
  if (exec->container == nullptr)
    problem = "container not found", errno = ENOENT;
  else if (exec->container->state != wire::State::Running)
    problem = "container is not running", errno = ESRCH;
  else if (exec->spec.arguments.size() == 0)
    problem = "no command specified", errno = EINVAL;
  else if (target.reset(pidfd_open(exec->container->pid, 0)); !target.valid())
    problem = "open the container";
  else if (!exec->spec.tty && !make_stdio(exec->stdio, exec->spec.wants_stdin))
    problem = "make pipes";
  else if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, status) < 0)
    problem = "make a status socket";
  if (problem != nullptr) {
    server_.reply_error(request, errno, problem);
    delete exec;
    return;
  }
  Fd child_status(status[1]);
  exec->launch = new Launch;
  exec->launch->request = request;
  exec->launch->status.reset(status[0]);
  pid_t pid = clone_into(target.get(), 0, &exec->container->spec.cgroup_directories);
  if (pid == 0) {
    ContainerSpec& spec = exec->container->spec;
    Child child{child_status.get(),
                &spec.process,
                argument_vector(exec->spec.arguments),
                exec->spec.tty,
                {exec->stdio.child[0].get(), exec->stdio.child[1].get(), exec->stdio.child[2].get()},
                &spec.cgroup_directories};
    if (Sandbox* sandbox = find_sandbox(spec.sandbox)) child.user = sandbox->user.get(), child.first_id = sandbox->first_id;
    exec_child(child, target.get());
  }
  if (pid < 0) {
    server_.reply_failure(request, errno, "clone");
    delete exec;
    return;
  }
  for (Fd& end : exec->stdio.child) end.reset();
  exec->id = next_exec_++;
  exec->pid = pid;
  exec->client = request.client;
  execs_.push(exec);
  exec->launch->owner = this;
  exec->launch->source = {&on_exec_status, exec};
  events_.watch(status[0], EPOLLIN, exec->launch->source);
  exec->launch->watched_by = &events_;
}

void Node::on_exec_status(Source& self, uint32_t) {
  auto& exec = *static_cast<Exec*>(self.owner);
  if (exec.launch->read_status()) static_cast<Node*>(exec.launch->owner)->exec_launched(exec);
}

void Node::exec_launched(Exec& exec) {
  Launch* launch = exec.launch;
  exec.launch = nullptr;
  if (!launch->succeeded()) {
    reply_launch_error(launch->request, *launch);
    forget_exec(exec);
  } else {
    Message message;
    wire::put_number(message.fields, wire::Tag::ExecId, exec.id);
    for (const char* warning : launch->warnings) wire::put_text(message.fields, wire::Tag::Warning, warning);
    if (launch->terminal.valid()) message.fds.push(launch->terminal.get());
    for (const Fd& end : exec.stdio.parent)
      if (end.valid()) message.fds.push(end.get());
    server_.reply(launch->request, message);
    for (Fd& end : exec.stdio.parent) end.reset();
  }
  delete launch;
}

void Node::exec_exited(Exec& exec, int status) {
  if (exec.launch != nullptr) {
    bool started = exec.launch->read_status() && exec.launch->succeeded();
    exec_launched(exec);
    if (!started) return;
  }
  Message message;
  wire::put_number(message.fields, wire::Tag::ExecId, exec.id);
  wire::put_number(message.fields, wire::Tag::ExitCode,
                   static_cast<uint64_t>(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)));
  server_.broadcast(wire::Op::ExecExited, message);
  forget_exec(exec);
}

void Node::forget_exec(Exec& exec) {
  execs_.remove(&exec);
  delete &exec;
}

void Node::signal_exec(const Request& request, const Buffer& fields) {
  uint64_t id = number_of(fields, wire::Tag::ExecId);
  for (Exec* exec : execs_)
    if (exec->id == id) kill(exec->pid, static_cast<int>(number_of(fields, wire::Tag::Signal)));
  done(request);
}

}  // namespace skiff::init
