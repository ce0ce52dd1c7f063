#include "child.hpp"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "groups.hpp"
#include "user_namespace.hpp"

namespace skiff::init {
namespace {

constexpr size_t kMaxMessage = 1024;

void send_message(const Child& child, const char* data, size_t size) {
  // A lost message means the parent is gone, and with it this whole PID namespace.
  if (send(child.status, data, size, MSG_NOSIGNAL) < 0) _exit(127);
}

void default_signals() {
  for (int signal_number = 1; signal_number < NSIG; ++signal_number) signal(signal_number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

void join(const Child& child, int fd, int kind, const char* name) {
  if (fd >= 0 && setns(fd, kind) < 0) fail(child, errno, "join the sandbox's %s namespace", name);
}

/// Last of what needs descriptors: afterwards only 0, 1, 2 stay open across exec.
void install_stdio(const Child& child) {
  if (child.tty) {
    open_terminal(child);
  } else {
    for (int fd = 0; fd < 3; ++fd)
      if (dup2(child.stdio[fd], fd) < 0) fail(child, errno, "dup2 of descriptor %d", fd);
  }
  if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0) fail(child, errno, "close_range");
}

}  // namespace

void fail(const Child& child, int number, const char* format, ...) {
  char message[kMaxMessage];
  message[0] = static_cast<char>(Status::Failure);
  memcpy(message + 1, &number, sizeof number);
  constexpr size_t start = 1 + sizeof number;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message + start, sizeof message - start, format, arguments);
  va_end(arguments);
  send_message(child, message, start + strlen(message + start) + 1);
  _exit(127);
}

void warn(const Child& child, int number, const char* format, ...) {
  char message[kMaxMessage];
  message[0] = static_cast<char>(Status::Warning);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message + 1, 500, format, arguments);
  va_end(arguments);
  size_t length = strlen(message);
  snprintf(message + length, sizeof message - length, ": %s", strerror(number));
  send_message(child, message, 1 + strlen(message + 1) + 1);
}

void send_identity(const Child& child, const char* text) {
  char message[kMaxMessage];
  message[0] = static_cast<char>(Status::Identity);
  snprintf(message + 1, sizeof message - 1, "%s", text);
  send_message(child, message, 1 + strlen(message + 1) + 1);
}

void send_terminal(const Child& child, int master) {
  char kind = static_cast<char>(Status::Terminal);
  iovec part{&kind, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &master, sizeof master);
  if (sendmsg(child.status, &message, MSG_NOSIGNAL) < 0) _exit(127);
}

void join_cgroups(const Child& child) {
  if (child.cgroups->size() == 1) return;  // cgroup v2: this process was born there
  if (const char* failed = join_groups(*child.cgroups)) fail(child, errno, "join cgroup %s", failed);
}

void container_child(Child& child, const ContainerSpec& spec, const SandboxFds& sandbox,
                     const char* shared_memory) {
  default_signals();
  setsid();
  // Before anything is allocated or forked: what comes earlier would escape the limits.
  join_cgroups(child);
  // The pod's namespaces come before the mounts: sysfs and mqueue show those of whoever mounts them.
  join(child, sandbox.network, CLONE_NEWNET, "network");
  join(child, sandbox.ipc, CLONE_NEWIPC, "IPC");
  join(child, sandbox.uts, CLONE_NEWUTS, "UTS");
  // After joining the cgroups: they become the root the container sees.
  if (unshare(CLONE_NEWCGROUP) < 0) fail(child, errno, "unshare cgroup namespace");
  build_root(child, spec, shared_memory);
  // In the new root: the terminal comes from the container's own /dev/pts.
  install_stdio(child);
  set_limits(child);
  enter_user_namespace(child);
  become_user_and_exec(child);
}

void exec_child(Child& child, int target) {
  default_signals();
  setsid();
  // Cgroup paths are the node's, so join before its mount namespace is left.
  join_cgroups(child);
  constexpr int kinds = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  if (setns(target, kinds) < 0) fail(child, errno, "enter the container's namespaces");
  take_mapped_ids(child);
  install_stdio(child);
  set_limits(child);
  child.own_mounts = false;
  enter_user_namespace(child);
  become_user_and_exec(child);
}

}  // namespace skiff::init
