#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "child.hpp"
#include "node.hpp"

namespace skiff::init {
namespace {

/// Copies the arguments into a NULL-terminated array that lives as long as the process.
const char* const* argument_vector(const Array<const char*>& arguments) {
  auto** copy = static_cast<const char**>(allocate((arguments.size() + 1) * sizeof(char*)));
  for (size_t i = 0; i < arguments.size(); ++i) copy[i] = arguments[i];
  copy[arguments.size()] = nullptr;
  return copy;
}

/// Without a PID namespace of its own a container's processes do not die with the first: its cgroup knows
/// them.
void kill_cgroup(const ContainerSpec& spec) {
  if (spec.cgroup_directories.size() == 0) return;
  char path[4200];
  snprintf(path, sizeof path, "%s/cgroup.procs", spec.cgroup_directories[0]);
  FILE* list = fopen(path, "re");
  if (list == nullptr) return;
  for (int pid; fscanf(list, "%d", &pid) == 1;)
    if (pid > 1) kill(pid, SIGKILL);
  fclose(list);
}

bool own_pids(const Sandbox& sandbox, const ContainerSpec& spec) {
  return !sandbox.pids.valid() && !spec.host_pids && *spec.pids_of == '\0';
}

/// The PID namespace to be born in; invalid for the node's or a new one.
Fd pids_for(const Sandbox& sandbox, const ContainerSpec& spec, const Container* target) {
  if (spec.host_pids) return Fd();
  if (target == nullptr) return Fd(sandbox.pids.valid() ? fcntl(sandbox.pids.get(), F_DUPFD_CLOEXEC, 3) : -1);
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/ns/pid", target->pid);
  return Fd(open(path, O_RDONLY | O_CLOEXEC));
}

}  // namespace

void Node::run_container(const Request& request, Buffer fields) {
  auto* container = new Container(events_);
  parse_container(container->spec, static_cast<Buffer&&>(fields));
  ContainerSpec& spec = container->spec;
  Sandbox* sandbox = find_sandbox(spec.sandbox);
  Container* target = *spec.pids_of != '\0' ? find_container(spec.pids_of) : nullptr;
  Stdio stdio;
  int status[2] = {-1, -1};
  const char* problem = nullptr;
  errno = 0;
  if (find_container(spec.id) != nullptr)
    problem = "a container with this id exists", errno = EEXIST;
  else if (sandbox == nullptr)
    problem = "its sandbox does not exist", errno = ENOENT;
  else if (*spec.pids_of != '\0' && (target == nullptr || target->pid <= 0))
    problem = "the target container does not run", errno = ESRCH;
  else if (spec.process.arguments.size() == 0)
    problem = "no command specified";
  else if (!container->log.open_at(spec.log_path, spec.log_max_bytes, spec.log_max_files))
    problem = "open its log";
  else if (!spec.tty && !make_stdio(stdio, spec.wants_stdin))
    problem = "make its pipes";
  else if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, status) < 0)
    problem = "make its status socket";
  if (problem != nullptr) {
    server_.reply_failure(request, errno, problem);
    delete container;
    return;
  }
  Fd child_status(status[1]);
  container->launch = new Launch;
  container->launch->request = request;
  container->launch->status.reset(status[0]);
  unsigned long flags = CLONE_NEWNS | (own_pids(*sandbox, spec) ? CLONE_NEWPID : 0UL);
  Fd pids = pids_for(*sandbox, spec, target);
  pid_t pid = clone_into(pids.get(), flags, &spec.cgroup_directories);
  if (pid == 0) {
    Child child{child_status.get(),
                &spec.process,
                argument_vector(spec.process.arguments),
                spec.tty,
                {stdio.child[0].get(), stdio.child[1].get(), stdio.child[2].get()},
                &spec.cgroup_directories,
                sandbox->user.get(),
                sandbox->first_id};
    container_child(child, spec, {sandbox->network.get(), sandbox->ipc.get(), sandbox->uts.get()},
                    sandbox->shared_memory);
  }
  if (pid < 0) {
    server_.reply_failure(request, errno, "clone");
    delete container;
    return;
  }
  container->pid = pid;
  if (!spec.tty) {
    container->input = static_cast<Fd&&>(stdio.parent[0]);
    container->out.start(static_cast<Fd&&>(stdio.parent[1]));
    container->err.start(static_cast<Fd&&>(stdio.parent[2]));
  }
  if (spec.wants_stdin) {
    container->out.keep_early();
    container->err.keep_early();
  }
  containers_.push(container);
  container->launch->owner = this;
  container->launch->source = {&on_container_status, container};
  events_.watch(status[0], EPOLLIN, container->launch->source);
  container->launch->watched_by = &events_;
}

void Node::on_container_status(Source& self, uint32_t) {
  auto& container = *static_cast<Container*>(self.owner);
  if (container.launch->read_status())
    static_cast<Node*>(container.launch->owner)->container_launched(container);
}

/// The child has reached exec, or has told why not.
void Node::container_launched(Container& container) {
  Launch* launch = container.launch;
  container.launch = nullptr;
  if (!launch->succeeded()) {
    reply_launch_error(launch->request, *launch);
    kill(container.pid, SIGKILL);  // it is ending anyway; now it is certain
    forget_container(container);
  } else {
    container.state = wire::State::Running;
    container.started_at = now_ns();
    container.identity = launch->identity;
    launch->identity = nullptr;
    if (launch->terminal.valid()) {
      container.terminal = static_cast<Fd&&>(launch->terminal);
      container.out.start(Fd(fcntl(container.terminal.get(), F_DUPFD_CLOEXEC, 3)));
    }
    Message message;
    wire::put_number(message.fields, wire::Tag::Pid, static_cast<uint64_t>(container.pid));
    wire::put_number(message.fields, wire::Tag::StartedAt, container.started_at);
    if (container.identity != nullptr) wire::put_text(message.fields, wire::Tag::Identity, container.identity);
    for (const char* warning : launch->warnings) wire::put_text(message.fields, wire::Tag::Warning, warning);
    server_.reply(launch->request, message);
  }
  delete launch;
}

void Node::container_exited(Container& container, int status) {
  if (container.launch != nullptr) {
    bool started = container.launch->read_status() && container.launch->succeeded();
    container_launched(container);  // destroys the container when it never started
    if (!started) return;
  }
  Sandbox* sandbox = find_sandbox(container.spec.sandbox);
  if (sandbox == nullptr || !own_pids(*sandbox, container.spec)) kill_cgroup(container.spec);
  container.state = wire::State::Exited;
  container.pid = 0;
  container.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  container.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + container.signal;
  container.finished_at = now_ns();
  // Everything it wrote is in the log before anybody hears that it ended.
  container.out.finish();
  container.err.finish();
  container.input.reset();
  container.terminal.reset();
  Message message;
  put_container(container, message.fields);
  server_.broadcast(wire::Op::ContainerExited, message);
}

void Node::forget_container(Container& container) {
  containers_.remove(&container);
  delete &container;
}

}  // namespace skiff::init
