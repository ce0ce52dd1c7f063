// A container in a user namespace is set up with the rights of the node, and enters the namespace last, when nothing but the
// change of ids is left to do. So each of its mounts is one that it can neither change nor remove. Files keep their ids on
// disk: layers, volumes and the writable layer are mounted with mapped ids (mount_setattr), and while the root is being built
// our own file system ids are those of the pod's root, because a mapped mount refuses ids that it does not map.

#include "user_namespace.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

namespace skiff::init {
namespace {

bool write_map(pid_t pid, const char* kind, uint32_t first_id) {
  char path[64], text[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, kind);
  int length = snprintf(text, sizeof text, "0 %u %u\n", first_id, kIds);
  Fd file(open(path, O_WRONLY | O_CLOEXEC));
  return file.valid() && write(file.get(), text, static_cast<size_t>(length)) == length;
}

int open_of(pid_t pid, const char* name) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, name);
  return open(path, O_RDONLY | O_CLOEXEC);
}

pid_t clone_with(unsigned long flags) {
  clone_args arguments{};
  arguments.flags = flags;
  arguments.exit_signal = SIGCHLD;
  return static_cast<pid_t>(syscall(SYS_clone3, &arguments, sizeof arguments));
}

struct Outcome {
  int number = 0;
  char step[200] = {};
};

/// Waits for its ids, furnishes the namespaces, tells how that went and stays until it is killed.
[[noreturn]] void live_in_namespaces(const Sandbox& sandbox, unsigned long flags, int go, int told) {
  Outcome outcome;
  const char* step = "take the ids of its user namespace";
  char byte = 0;
  bool done = read(go, &byte, 1) == 1 && setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0 &&
              furnish_namespaces(sandbox, (flags & CLONE_NEWNET) != 0, (flags & CLONE_NEWUTS) != 0, step);
  if (!done) {
    outcome.number = errno != 0 ? errno : EPIPE;
    snprintf(outcome.step, sizeof outcome.step, "%s", step);
  }
  if (write(told, &outcome, sizeof outcome) != sizeof outcome) _exit(1);
  for (;;) pause();
}

bool take_namespaces(Sandbox& sandbox, unsigned long flags, pid_t pid) {
  sandbox.user.reset(open_of(pid, "user"));
  if ((flags & CLONE_NEWNET) != 0) sandbox.network.reset(open_of(pid, "net"));
  if ((flags & CLONE_NEWIPC) != 0) sandbox.ipc.reset(open_of(pid, "ipc"));
  if ((flags & CLONE_NEWUTS) != 0) sandbox.uts.reset(open_of(pid, "uts"));
  return sandbox.user.valid() && ((flags & CLONE_NEWNET) == 0 || sandbox.network.valid()) &&
         ((flags & CLONE_NEWIPC) == 0 || sandbox.ipc.valid()) && ((flags & CLONE_NEWUTS) == 0 || sandbox.uts.valid());
}

}  // namespace

bool make_in_user_namespace(Sandbox& sandbox, unsigned long flags, uint32_t first_id, const char*& step) {
  int go[2], told[2];
  step = "make pipes";
  if (pipe2(go, O_CLOEXEC) < 0) return false;
  Fd go_read(go[0]), go_write(go[1]);
  if (pipe2(told, O_CLOEXEC) < 0) return false;
  Fd told_read(told[0]), told_write(told[1]);
  step = "make a user namespace";
  pid_t pid = clone_with(CLONE_NEWUSER | flags);
  if (pid == 0) live_in_namespaces(sandbox, flags, go_read.get(), told_write.get());
  if (pid < 0) return false;
  told_write.reset();  // or its end would not be seen
  step = "map the ids of its user namespace";
  // skiff-init's loop reaps the child: it reaps whatever ends.
  bool mapped = write_map(pid, "uid_map", first_id) && write_map(pid, "gid_map", first_id) && write(go_write.get(), "", 1) == 1;
  Outcome outcome;
  if (mapped && read(told_read.get(), &outcome, sizeof outcome) != sizeof outcome) mapped = false, errno = EPIPE;
  bool made = mapped && outcome.number == 0 && take_namespaces(sandbox, flags, pid);
  int failure = outcome.number != 0 ? outcome.number : errno;
  kill(pid, SIGKILL);
  errno = failure;
  static char text[sizeof outcome.step];  // outlives this call; one request is handled at a time
  if (outcome.number != 0) step = strcpy(text, outcome.step);
  return made;
}

void take_mapped_ids(const Child& child) {
  if (child.user < 0) return;
  // Without this the change of ids would take the rights over files with it.
  if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) < 0) fail(child, errno, "keep capabilities");
  setfsgid(child.first_id);
  setfsuid(child.first_id);
}

void map_ids(const Child& child, int tree, const char* name) {
  if (child.user < 0) return;
  mount_attr change{};
  change.attr_set = MOUNT_ATTR_IDMAP;
  change.userns_fd = static_cast<uint64_t>(child.user);
  if (mount_setattr(tree, "", AT_EMPTY_PATH, &change, sizeof change) == 0) return;
  if (errno == EINVAL)
    fail(child, errno, "failed to set MOUNT_ATTR_IDMAP on %s (its file system has no mounts with mapped ids on this kernel)", name);
  fail(child, errno, "failed to set MOUNT_ATTR_IDMAP on %s", name);
}

void map_in_place(const Child& child, const char* path) {
  if (child.user < 0) return;
  Fd tree(open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!tree.valid()) fail(child, errno, "open_tree \"%s\"", path);
  map_ids(child, tree.get(), path);
  if (move_mount(tree.get(), "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0) fail(child, errno, "mount \"%s\"", path);
}

void enter_user_namespace(const Child& child) {
  if (child.user < 0) return;
  // Programs open /dev/stdout anew, and then its owner counts.
  for (int fd = 0; fd < 3; ++fd) {
    struct stat info {};
    if (fstat(fd, &info) == 0 && S_ISFIFO(info.st_mode) && fchown(fd, child.first_id, child.first_id) < 0)
      warn(child, errno, "give descriptor %d to the container", fd);
  }
  if (setns(child.user, CLONE_NEWUSER) < 0) fail(child, errno, "join the sandbox's user namespace");
  if (child.own_mounts && unshare(CLONE_NEWNS) < 0) fail(child, errno, "unshare the mount namespace");
  if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0) fail(child, errno, "become the container's root");
}

}  // namespace skiff::init
