#include "node.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

namespace skiff::init {

uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<uint64_t>(now.tv_nsec);
}

const char* text_of(const Buffer& fields, wire::Tag tag) {
  wire::FieldReader reader(fields.data(), fields.size());
  for (wire::Field field; reader.next(field);)
    if (field.tag == tag) return field.text();
  return "";
}

uint64_t number_of(const Buffer& fields, wire::Tag tag) {
  wire::FieldReader reader(fields.data(), fields.size());
  for (wire::Field field; reader.next(field);)
    if (field.tag == tag) return field.number();
  return 0;
}

Node::Node(Events& events, Fd listening)
    : events_(events), server_(events, static_cast<Fd&&>(listening), {this, &on_request, &on_disconnect}) {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, nullptr);
  child_signals_.reset(signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
  child_source_ = {&on_child_signal, this};
  events_.watch(child_signals_.get(), EPOLLIN, child_source_);
  own_pids_.reset(open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
  own_network_.reset(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  own_ipc_.reset(open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC));
  own_uts_.reset(open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC));
}

void Node::on_request(void* self, const Request& request, wire::Op op, Buffer fields) {
  auto& node = *static_cast<Node*>(self);
  switch (op) {
    case wire::Op::Hello:
      return node.hello(request);
    case wire::Op::CreateSandbox:
      return node.create_sandbox(request, static_cast<Buffer&&>(fields));
    case wire::Op::RemoveSandbox:
      return node.remove_sandbox(request, fields);
    case wire::Op::SandboxNetwork:
      return node.sandbox_network(request, fields);
    case wire::Op::RunContainer:
      return node.run_container(request, static_cast<Buffer&&>(fields));
    case wire::Op::SignalContainer:
      return node.signal_container(request, fields);
    case wire::Op::RemoveContainer:
      return node.remove_container(request, fields);
    case wire::Op::List:
      return node.list(request);
    case wire::Op::Exec:
      return node.exec(request, static_cast<Buffer&&>(fields));
    case wire::Op::ResizeContainer:
      return node.resize(request, fields);
    case wire::Op::Attach:
      return node.attach(request, fields);
    case wire::Op::CloseStdin:
      return node.close_stdin(request, fields);
    case wire::Op::ReopenLog:
      return node.reopen_log(request, fields);
    case wire::Op::Mount:
      return node.mount_in_node(request, fields);
    case wire::Op::Unmount:
      return node.unmount_in_node(request, fields);
    case wire::Op::SignalExec:
      return node.signal_exec(request, fields);
    case wire::Op::Reply:
    case wire::Op::ContainerExited:
    case wire::Op::ExecExited:
      break;
  }
  node.server_.reply_error(request, EOPNOTSUPP, "unknown request");
}

/// Exec sessions belong to the connection that asked for them: nobody is left to read their output.
void Node::on_disconnect(void* self, uint64_t client) {
  for (Exec* exec : static_cast<Node*>(self)->execs_)
    if (exec->client == client) kill(exec->pid, SIGKILL);
}

void Node::on_child_signal(Source& self, uint32_t) {
  auto& node = *static_cast<Node*>(self.owner);
  signalfd_siginfo ignored[8];
  while (read(node.child_signals_.get(), ignored, sizeof ignored) > 0) {
  }
  node.reap();
}

void Node::reap() {
  int status = 0;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    for (Container* container : containers_) {
      if (container->pid != pid) continue;
      container_exited(*container, status);
      break;
    }
    for (Exec* exec : execs_) {
      if (exec->pid != pid) continue;
      exec_exited(*exec, status);
      break;
    }
    for (SlowMount* pending : slow_mounts_) {
      if (pending->pid != pid) continue;
      slow_mount_ended(*pending, status);
      break;
    }
    // Anything else is an orphan of a pod in the node's PID namespace, or a pause process.
  }
}

Sandbox* Node::find_sandbox(const char* id) {
  for (Sandbox* sandbox : sandboxes_)
    if (strcmp(sandbox->id, id) == 0) return sandbox;
  return nullptr;
}

Container* Node::find_container(const char* id) {
  for (Container* container : containers_)
    if (strcmp(container->spec.id, id) == 0) return container;
  return nullptr;
}

void Node::done(const Request& request) {
  Message message;
  server_.reply(request, message);
}

void Node::reply_no_container(const Request& request, const char* id) {
  char text[300];
  snprintf(text, sizeof text, "container \"%s\" not found", id);
  server_.reply_error(request, ENOENT, text);
}

void Node::reply_launch_error(const Request& request, const Launch& launch) {
  server_.reply_failure(request, launch.error_number, launch.error);
}

pid_t Node::clone_into(int pids, unsigned long flags, const Array<const char*>* groups) {
  // Only where children are born changes; this process stays where it is.
  if (pids >= 0 && setns(pids, CLONE_NEWPID) < 0) return -1;
  clone_args arguments{};
  arguments.flags = flags;
  arguments.exit_signal = SIGCHLD;
  Fd group;
  if (groups != nullptr && groups->size() == 1) {
    group.reset(open((*groups)[0], O_PATH | O_DIRECTORY | O_CLOEXEC));
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = static_cast<uint64_t>(group.get());
  }
  auto pid = static_cast<pid_t>(syscall(SYS_clone3, &arguments, sizeof arguments));
  if (pid == 0) return 0;
  int failure = errno;
  if (pids >= 0 && setns(own_pids_.get(), CLONE_NEWPID) < 0) abort();
  errno = failure;
  return pid;
}

}  // namespace skiff::init
