// From root with every capability to the process the container asked for. Everything here only takes rights
// away; the order is given by which right each step still needs.

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "child.hpp"
#include "paths.hpp"
#include "users.hpp"

namespace skiff::init {
namespace {

constexpr const char* kDefaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

void install_seccomp(const Child& child) {
  const ProcessSpec& process = *child.process;
  if (process.seccomp_size < sizeof(sock_filter)) return;
  auto* filter = static_cast<sock_filter*>(allocate(process.seccomp_size));
  memcpy(filter, process.seccomp, process.seccomp_size);
  sock_fprog program{static_cast<unsigned short>(process.seccomp_size / sizeof(sock_filter)), filter};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
    fail(child, errno, "install the seccomp filter");
}

void drop_bounding(const Child& child, uint64_t keep) {
  for (int capability = 0; capability < 64; ++capability) {
    if ((keep >> capability & 1U) != 0) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) {
      if (errno == EINVAL) return;  // past the last one this kernel has
      fail(child, errno, "drop capability %d", capability);
    }
  }
}

void set_capabilities(const Child& child, const Capabilities& wanted) {
  uint64_t ours = 0;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) < 0) fail(child, errno, "capget");
  ours = data[0].permitted | static_cast<uint64_t>(data[1].permitted) << 32;
  for (int half = 0; half < 2; ++half) {  // what this machine itself lacks cannot be given
    data[half].effective = static_cast<uint32_t>((wanted.effective & ours) >> (32 * half));
    data[half].permitted = static_cast<uint32_t>((wanted.permitted & ours) >> (32 * half));
    data[half].inheritable = static_cast<uint32_t>((wanted.inheritable & ours) >> (32 * half));
  }
  if (syscall(SYS_capset, &header, data) < 0) fail(child, errno, "capset");
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (unsigned long capability = 0; capability < 64; ++capability)
    if ((wanted.ambient & ours) >> capability & 1U)
      prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
}

void look_up(const Child& child, Identity& identity) {
  const ProcessSpec& process = *child.process;
  switch (look_up_user(process.user, identity, !process.strict_groups)) {
    case Lookup::Found:
      break;
    case Lookup::NoUser:
      fail(child, 0, "unable to find user %s: no matching entries in passwd file", process.user);
    case Lookup::NoGroup:
      fail(child, 0, "unable to find group %s: no matching entries in group file", process.user);
  }
  if (process.gid >= 0) identity.gid = static_cast<gid_t>(process.gid);
  for (uint32_t group : process.groups) identity.groups.push(group);
}

/// The supplementary groups: the primary one first, as containerd has it, each once.
void all_groups(const Identity& identity, Array<uint32_t>& groups) {
  groups.push(identity.gid);
  for (uint32_t group : identity.groups) {
    bool known = false;
    for (uint32_t other : groups) known = known || other == group;
    if (!known) groups.push(group);
  }
}

void tell_identity(const Child& child, const Identity& identity, const Array<uint32_t>& groups) {
  char text[1000];
  int length = snprintf(text, sizeof text, "%u %u", identity.uid, identity.gid);
  for (uint32_t group : groups)
    if (length < int{sizeof text} - 20)
      length += snprintf(text + length, sizeof text - static_cast<size_t>(length), " %u", group);
  send_identity(child, text);
}

void change_ids(const Child& child, const Identity& identity, const Array<uint32_t>& groups) {
  // Otherwise the change to another uid would empty the permitted set before set_capabilities can choose from
  // it.
  if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) fail(child, errno, "keep capabilities");
  if (setgroups(groups.size(), groups.begin()) < 0) fail(child, errno, "setgroups");
  if (setresgid(identity.gid, identity.gid, identity.gid) < 0) fail(child, errno, "setgid %u", identity.gid);
  if (setresuid(identity.uid, identity.uid, identity.uid) < 0) fail(child, errno, "setuid %u", identity.uid);
}

/// As runc: a program that opens /dev/stderr anew needs to own it. What is not ours to give stays as it is.
void give_stdio(const Identity& identity) {
  for (int fd = 0; fd < 3; ++fd) {
    struct stat info {};
    if (fstat(fd, &info) < 0 || info.st_uid == identity.uid || S_ISREG(info.st_mode)) continue;
    bool null = S_ISCHR(info.st_mode) && major(info.st_rdev) == 1;
    if (!null && fchown(fd, identity.uid, info.st_gid) < 0) errno = 0;
  }
}

const char* variable(const Array<const char*>& environment, const char* name) {
  size_t length = strlen(name);
  const char* value = nullptr;
  for (const char* entry : environment)
    if (entry != nullptr && strncmp(entry, name, length) == 0 && entry[length] == '=')
      value = entry + length + 1;
  return value;
}

char** build_environment(const Child& child, const Identity& identity) {
  auto& environment =
      const_cast<Array<const char*>&>(child.process->environment);  // our own copy: we are forked
  static char home[300];
  snprintf(home, sizeof home, "HOME=%s", identity.home);
  if (variable(environment, "HOME") == nullptr) environment.push(home);
  if (variable(environment, "PATH") == nullptr) environment.push(kDefaultPath);
  if (child.tty && variable(environment, "TERM") == nullptr) environment.push("TERM=xterm");
  environment.push(nullptr);  // variable() passes over it
  return const_cast<char**>(environment.begin());
}

/// 0 when `path` is a file this process may execute, else an errno.
int executable(const char* path) {
  struct stat info {};
  if (stat(path, &info) < 0) return errno;
  if (S_ISDIR(info.st_mode)) return EISDIR;
  return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? EACCES : 0;
}

/// The path to execute for `name`, searched in the container's PATH when it has no slash.
const char* find_program(const Child& child, const char* name) {
  static char path[4096];
  if (strchr(name, '/') != nullptr) {
    int why = executable(name);
    if (why == EACCES || why == EISDIR) fail(child, why, "exec: \"%s\"", name);
    if (why != 0) fail(child, why, "exec: \"%s\": stat %s", name, name);
    return name;
  }
  bool refused = false;
  for (const char* at = variable(child.process->environment, "PATH"); at != nullptr && *name != '\0';) {
    const char* end = strchrnul(at, ':');
    snprintf(path, sizeof path, "%.*s/%s", static_cast<int>(end - at), end == at ? "." : at, name);
    int why = executable(path);
    if (why == 0) return path;
    refused = refused || why == EACCES;
    at = *end == ':' ? end + 1 : nullptr;
  }
  if (refused) fail(child, EACCES, "exec: \"%s\"", name);
  fail(child, 0, "exec: \"%s\": executable file not found in $PATH", name);
}

/// Never through /proc's magic links: /proc/self/fd/N could be a directory outside that is still open here. False with
/// errno.
bool try_enter(const char* path) {
  Fd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  Fd directory(open_in_root(root.get(), path, O_PATH | O_DIRECTORY));
  return directory.valid() && fchdir(directory.get()) == 0;
}

void enter_directory(const Child& child) {
  if (!try_enter(child.process->directory))
    fail(child, errno, "chdir to cwd (\"%s\") set in config.json failed", child.process->directory);
}

}  // namespace

void set_limits(const Child& child) {
  const ProcessSpec& process = *child.process;
  for (const LimitSpec& limit : process.limits) {
    rlimit wanted{limit.soft, limit.hard};
    // Raising needs CAP_SYS_RESOURCE, which skiff itself may lack; the container then has what skiff has.
    if (setrlimit(static_cast<__rlimit_resource_t>(limit.resource), &wanted) < 0)
      warn(child, errno, "resource limit %d stays as it is", limit.resource);
  }
  if (!process.has_oom_score) return;
  Fd file(open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  char text[32];
  int length = snprintf(text, sizeof text, "%ld", static_cast<long>(process.oom_score));
  if (!file.valid() || write(file.get(), text, static_cast<size_t>(length)) != length)
    warn(child, errno, "oom_score_adj %s was refused", text);
}

void become_user_and_exec(const Child& child) {
  const ProcessSpec& process = *child.process;
  Identity identity;
  look_up(child, identity);
  Array<uint32_t> groups;
  all_groups(identity, groups);
  tell_identity(child, identity, groups);
  char** environment = build_environment(child, identity);
  give_stdio(identity);
  // Installing a filter without no-new-privileges takes CAP_SYS_ADMIN, so it comes before the capabilities
  // go.
  if (!process.no_new_privileges) install_seccomp(child);
  drop_bounding(child, process.capabilities.bounding);
  bool entered = try_enter(process.directory);
  if (!entered && errno != EACCES) enter_directory(child);
  change_ids(child, identity, groups);
  set_capabilities(child, process.capabilities);
  // A directory that root may not enter (a squashed network mount) but the user may.
  if (!entered) enter_directory(child);
  const char* program = find_program(child, child.arguments[0]);
  if (process.no_new_privileges) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) fail(child, errno, "set no_new_privs");
    install_seccomp(child);  // as late as possible: fewer of our own calls need to be allowed by it
  }
  char ready = static_cast<char>(Status::Ready);
  if (write(child.status, &ready, 1) != 1) _exit(127);
  execve(program, const_cast<char**>(child.arguments), environment);
  fail(child, errno, "exec %s", program);
}

}  // namespace skiff::init
