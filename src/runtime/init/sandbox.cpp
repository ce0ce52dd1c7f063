#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "user_namespace.hpp"

namespace skiff::init {
namespace {

/// "net.ipv4.ip_forward=1" into /proc/sys of the namespaces this process is in. False with errno.
bool write_sysctl(const char* assignment) {
  char path[256] = "/proc/sys/";
  const char* value = strchr(assignment, '=');
  if (value == nullptr || strlen(assignment) > 200 || strstr(assignment, "..") != nullptr) {
    errno = EINVAL;
    return false;
  }
  size_t at = strlen(path);
  // Both spellings: dots separate, a slash inside a name (an interface "eth0.1") swaps them.
  bool slashes = memchr(assignment, '/', static_cast<size_t>(value - assignment)) != nullptr;
  for (const char* from = assignment; from < value; ++from)
    path[at++] = !slashes && *from == '.' ? '/' : *from;
  Fd file(open(path, O_WRONLY | O_CLOEXEC));
  size_t length = strlen(value + 1);
  return file.valid() && write(file.get(), value + 1, length) == static_cast<ssize_t>(length);
}

bool write_sysctls(const Buffer& fields, const char*& failed) {
  wire::FieldReader reader(fields.data(), fields.size());
  for (wire::Field field; reader.next(field);) {
    if (field.tag != wire::Tag::Sysctl || write_sysctl(field.text())) continue;
    failed = field.text();
    return false;
  }
  return true;
}

/// The first process of a shared PID namespace: adopts and reaps, nothing else.
[[noreturn]] void pause_forever() {
  prctl(PR_SET_NAME, "pause");
  setsid();
  close_range(0, ~0U, 0);
  signal(SIGCHLD, SIG_IGN);  // the kernel reaps
  for (;;) pause();
}

int open_own(const char* name) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/ns/%s", name);
  return open(path, O_RDONLY | O_CLOEXEC);
}

struct Wanted {
  bool network, ipc, uts, pids;
  unsigned long flags() const {
    return (network ? CLONE_NEWNET : 0UL) | (ipc ? CLONE_NEWIPC : 0UL) | (uts ? CLONE_NEWUTS : 0UL);
  }
};

/// Runs inside the new namespaces. False with what went wrong in `step`.
bool set_up_namespaces(Sandbox& sandbox, const Wanted& wanted, const char*& step) {
  if (!furnish_namespaces(sandbox, wanted.network, wanted.uts, step)) return false;
  step = "open its namespaces";
  sandbox.network.reset(wanted.network ? open_own("net") : -1);
  sandbox.ipc.reset(wanted.ipc ? open_own("ipc") : -1);
  sandbox.uts.reset(wanted.uts ? open_own("uts") : -1);
  return (!wanted.network || sandbox.network.valid()) && (!wanted.ipc || sandbox.ipc.valid()) &&
         (!wanted.uts || sandbox.uts.valid());
}

bool start_pause(Sandbox& sandbox, pid_t pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/ns/pid", pid);
  sandbox.pause = pid;
  sandbox.pids.reset(open(path, O_RDONLY | O_CLOEXEC));
  return sandbox.pids.valid();
}

bool mount_shared_memory(const Sandbox& sandbox) {
  uint64_t size = number_of(sandbox.fields, wire::Tag::SharedMemorySize);
  char options[64];
  snprintf(options, sizeof options, "mode=1777,size=%lu", size != 0 ? size : 64UL << 20);
  return mount("shm", sandbox.shared_memory, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) == 0;
}

}  // namespace

bool furnish_namespaces(const Sandbox& sandbox, bool network, bool uts, const char*& step) {
  const char* hostname = text_of(sandbox.fields, wire::Tag::Hostname);
  step = "set the host name";
  if (uts && *hostname != '\0' && sethostname(hostname, strlen(hostname)) < 0) return false;
  step = "bring up lo";
  if (network && !set_loopback_up()) return false;
  return write_sysctls(sandbox.fields, step);
}

bool set_loopback_up() {
  Fd socket_fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  strcpy(request.ifr_name, "lo");
  if (ioctl(socket_fd.get(), SIOCGIFFLAGS, &request) < 0) return false;
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  return ioctl(socket_fd.get(), SIOCSIFFLAGS, &request) == 0;
}

bool Node::make_namespaces(Sandbox& sandbox, unsigned long flags, const char*& step) {
  Wanted wanted{(flags & CLONE_NEWNET) != 0, (flags & CLONE_NEWIPC) != 0, (flags & CLONE_NEWUTS) != 0, false};
  step = "unshare its namespaces";
  bool made = unshare(static_cast<int>(flags)) == 0 && set_up_namespaces(sandbox, wanted, step);
  int failure = errno;
  // This process itself goes home; the descriptors keep the new namespaces. Being stuck in a pod's would be
  // fatal.
  if (setns(own_network_.get(), CLONE_NEWNET) < 0 || setns(own_ipc_.get(), CLONE_NEWIPC) < 0 ||
      setns(own_uts_.get(), CLONE_NEWUTS) < 0)
    abort();
  errno = failure;
  return made;
}

void Node::create_sandbox(const Request& request, Buffer fields) {
  auto* sandbox = new Sandbox;
  sandbox->fields = static_cast<Buffer&&>(fields);
  sandbox->id = text_of(sandbox->fields, wire::Tag::Id);
  sandbox->shared_memory = text_of(sandbox->fields, wire::Tag::SharedMemory);
  bool host_network = number_of(sandbox->fields, wire::Tag::HostNetwork) != 0;
  Wanted wanted{.network = !host_network,
                .ipc = number_of(sandbox->fields, wire::Tag::HostIpc) == 0,
                .uts = !host_network,
                .pids = number_of(sandbox->fields, wire::Tag::SharedPids) != 0};
  const char* step = "an id that is already taken";
  errno = EEXIST;
  bool made = find_sandbox(sandbox->id) == nullptr;
  uint64_t first_id = number_of(sandbox->fields, wire::Tag::FirstId);
  sandbox->first_id = static_cast<uint32_t>(first_id);
  if (made && first_id != 0) made = make_in_user_namespace(*sandbox, wanted.flags(), sandbox->first_id, step);
  else if (made) made = make_namespaces(*sandbox, wanted.flags(), step);
  if (made && wanted.pids) {
    pid_t pid = clone_into(-1, CLONE_NEWPID);
    if (pid == 0) pause_forever();
    step = "start its PID namespace";
    made = pid > 0 && start_pause(*sandbox, pid);
  }
  if (made && *sandbox->shared_memory != '\0') {
    step = "mount its /dev/shm";
    made = mount_shared_memory(*sandbox);
  }
  if (!made) {
    char text[400];
    snprintf(text, sizeof text, "create sandbox \"%s\": %s", sandbox->id, step);
    server_.reply_failure(request, errno, text);
    if (sandbox->pause > 0) kill(sandbox->pause, SIGKILL);
    delete sandbox;
    return;
  }
  sandboxes_.push(sandbox);
  Message message;
  message.fds.push((host_network ? own_network_ : sandbox->network).get());
  server_.reply(request, message);
}

void Node::remove_sandbox(const Request& request, const Buffer& fields) {
  Sandbox* sandbox = find_sandbox(text_of(fields, wire::Tag::Id));
  if (sandbox == nullptr) return done(request);
  for (Container* container : containers_) {
    if (strcmp(container->spec.sandbox, sandbox->id) != 0) continue;
    if (container->state != wire::State::Exited)
      return server_.reply_error(request, EBUSY, "containers of the sandbox are running");
  }
  if (sandbox->pause > 0) kill(sandbox->pause, SIGKILL);
  if (*sandbox->shared_memory != '\0') umount2(sandbox->shared_memory, MNT_DETACH);
  sandboxes_.remove(sandbox);
  delete sandbox;
  done(request);
}

void Node::sandbox_network(const Request& request, const Buffer& fields) {
  Sandbox* sandbox = find_sandbox(text_of(fields, wire::Tag::Id));
  if (sandbox == nullptr) return server_.reply_error(request, ENOENT, "sandbox not found");
  Message message;
  message.fds.push((sandbox->network.valid() ? sandbox->network : own_network_).get());
  server_.reply(request, message);
}

}  // namespace skiff::init
