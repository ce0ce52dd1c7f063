// skiff-init: PID 1 of a node. skiff starts it from a sealed memfd as
//
//   skiff-init directory=DIR hostname=NAME ready=FD [join=CGROUP...] [leaf=CGROUP...]
//
// That process only makes the node's namespaces and leaves; its child, a child of skiff by CLONE_PARENT but
// in a session of its own, is the node. It does what must survive a restart of skiff and nothing else. It
// ends by SIGKILL only: then the kernel ends every process and mount of the node.

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "groups.hpp"
#include "node.hpp"
#include "paths.hpp"

namespace skiff::init {
namespace {

struct Options {
  const char* directory = "";
  const char* hostname = "";
  int ready = -1;  // told "" when the node is up, otherwise why it is not
  Array<const char*> join, leaf;
};

[[noreturn]] __attribute__((format(printf, 2, 3))) void give_up(int ready, const char* format, ...) {
  int failure = errno;
  char text[600];
  va_list arguments;
  va_start(arguments, format);
  size_t length = static_cast<size_t>(vsnprintf(text, 500, format, arguments));
  va_end(arguments);
  snprintf(text + length, sizeof text - length, ": %s", strerror(failure));
  if (write(ready, text, strlen(text)) < 0) perror("skiff-init");
  _exit(1);
}

const char* value_of(const char* argument, const char* name) {
  size_t length = strlen(name);
  return strncmp(argument, name, length) == 0 && argument[length] == '=' ? argument + length + 1 : nullptr;
}

void parse(int count, char** arguments, Options& options) {
  for (int i = 1; i < count; ++i) {
    if (const char* value = value_of(arguments[i], "directory"))
      options.directory = value;
    else if (const char* name = value_of(arguments[i], "hostname"))
      options.hostname = name;
    else if (const char* fd = value_of(arguments[i], "ready"))
      options.ready = atoi(fd);
    else if (const char* join = value_of(arguments[i], "join"))
      options.join.push(join);
    else if (const char* leaf = value_of(arguments[i], "leaf"))
      options.leaf.push(leaf);
  }
}

void join_cgroups(const Options& options, const Array<const char*>& directories) {
  if (const char* failed = join_groups(directories)) give_up(options.ready, "join cgroup %s", failed);
}

void set_up_mounts(const Options& options) {
  // Later mounts of the host are seen (a hostPath may need them), ours never leave; among themselves the node
  // and its containers may share.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0 ||
      mount(nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr) < 0)
    give_up(options.ready, "set the propagation of mounts");
  if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) < 0)
    give_up(options.ready, "mount /proc");
  // /sys of this network namespace, with the host's cgroups below it.
  Fd cgroups(open_tree(AT_FDCWD, "/sys/fs/cgroup", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
  if (mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) < 0)
    give_up(options.ready, "mount /sys");
  if (cgroups.valid() &&
      move_mount(cgroups.get(), "", AT_FDCWD, "/sys/fs/cgroup", MOVE_MOUNT_F_EMPTY_PATH) < 0)
    give_up(options.ready, "keep /sys/fs/cgroup");
}

Fd listen_in(const Options& options) {
  Fd directory(open(options.directory, O_PATH | O_DIRECTORY | O_CLOEXEC));
  Fd listening(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!directory.valid() || !listening.valid()) give_up(options.ready, "open %s", options.directory);
  // By descriptor: a socket's address has room for 108 bytes only.
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", FdPath(directory.get()).text,
           wire::kSocketName);
  unlink(address.sun_path);
  umask(077);
  if (bind(listening.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0 ||
      listen(listening.get(), 16) < 0)
    give_up(options.ready, "listen in %s", options.directory);
  umask(022);
  return listening;
}

[[noreturn]] void run_node(const Options& options) {
  prctl(PR_SET_NAME, "skiff-init");
  // No process of a pod may look into this one, not even through a PID namespace they share.
  prctl(PR_SET_DUMPABLE, 0);
  signal(SIGPIPE, SIG_IGN);
  join_cgroups(options, options.leaf);
  set_up_mounts(options);
  if (sethostname(options.hostname, strlen(options.hostname)) < 0)
    give_up(options.ready, "set the host name");
  if (!set_loopback_up()) give_up(options.ready, "bring up lo");
  Events events;
  Node node(events, listen_in(options));
  close(options.ready);
  events.run();
}

int start(int count, char** arguments) {
  Options options;
  parse(count, arguments, options);
  // skiff passes exactly 0, 1, 2 and `ready`; whatever else leaked in would be held as long as the node
  // lives.
  if (options.ready != 3 || close_range(4, ~0U, 0) < 0) return 2;
  fcntl(options.ready, F_SETFD, FD_CLOEXEC);
  if (chdir("/") < 0) return 2;
  // Joined before the cgroup namespace is made: what is joined now becomes its root.
  join_cgroups(options, options.join);
  constexpr unsigned long kinds =
      CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP;
  auto pid = static_cast<pid_t>(
      syscall(SYS_clone, kinds | CLONE_PARENT | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  if (pid < 0) give_up(options.ready, "clone the node's namespaces");
  if (pid == 0) {
    setsid();
    run_node(options);
  }
  return 0;
}

}  // namespace
}  // namespace skiff::init

int main(int count, char** arguments) { return skiff::init::start(count, arguments); }
