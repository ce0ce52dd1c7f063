// A container's file system, from the node's view of the disk to "/" as the container sees it. The order is
// the security: sources are taken while the node's mounts are visible, targets are resolved inside the new
// root, the old root goes away, and only then paths are masked (a mask by name needs to be inside).

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include "child.hpp"
#include "devices.hpp"
#include "overlay.hpp"
#include "paths.hpp"
#include "user_namespace.hpp"

namespace skiff::init {
namespace {

constexpr unsigned long kNoExec = MS_NOSUID | MS_NODEV | MS_NOEXEC;

/// A detached copy of what is mounted at the source, ready to be attached; it still belongs to the source's
/// propagation group unless it is told to leave.
int take_source(const Child& child, const MountSpec& mount) {
  Fd source(open(mount.source, O_PATH | O_CLOEXEC));
  if (!source.valid()) fail(child, errno, "mount source \"%s\"", mount.source);
  if (mount.sub_path != nullptr) {
    source.reset(open_beneath(source.get(), mount.sub_path));
    if (!source.valid()) fail(child, errno, "subPath \"%s\" of \"%s\"", mount.sub_path, mount.source);
  }
  int tree = open_tree(source.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
  if (tree < 0) fail(child, errno, "open_tree \"%s\"", mount.source);
  mount_attr change{};
  if (mount.propagation == wire::Propagation::Private) change.propagation = MS_PRIVATE;
  if (mount.propagation == wire::Propagation::Slave) change.propagation = MS_SLAVE;
  if (mount.recursive_read_only) change.attr_set = MOUNT_ATTR_RDONLY;
  if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &change, sizeof change) < 0)
    fail(child, errno, "set the propagation of \"%s\"", mount.source);
  mount_attr read_only{};
  read_only.attr_set = MOUNT_ATTR_RDONLY;
  if (mount.read_only && mount_setattr(tree, "", AT_EMPTY_PATH, &read_only, sizeof read_only) < 0)
    fail(child, errno, "make \"%s\" read-only", mount.source);
  map_ids(child, tree, mount.source);
  return tree;
}

/// Where the root, the upper and the work directory are: the latter two have to be on one mount.
void map_parent_of(const Child& child, const char* root) {
  char parent[4200];
  snprintf(parent, sizeof parent, "%s", root);
  if (char* slash = strrchr(parent, '/')) *slash = '\0';
  map_in_place(child, parent);
}

void mount_overlay(const Child& child, const ContainerSpec& spec) {
  OverlayOptions options;
  auto add = [&](const char* prefix, const char* path) {
    if (!options.add(prefix, path)) fail(child, errno, "open layer %s", path);
  };
  for (size_t i = 0; i < spec.lower.size(); ++i) add(i == 0 ? "lowerdir=" : ":", spec.lower[i]);
  if (spec.upper != nullptr) {
    add(",upperdir=", spec.upper);
    add(",workdir=", spec.work);
  }
  if (mount("overlay", spec.root, "overlay", 0, options.text()) < 0)
    fail(child, errno, "mount the root file system at %s", spec.root);
}

/// One kernel file system at `target` in the root. False with errno when the kernel refuses.
bool mount_kernel(const Child& child, int root, const char* type, const char* target, unsigned long flags,
                  const char* options) {
  Fd point(make_in_root(root, target, true));
  if (!point.valid()) fail(child, errno, "make mount point %s", target);
  return mount(type, FdPath(point.get()).text, type, flags, options) == 0;
}

void bind_in_root(const Child& child, int root, const char* source, const char* target) {
  Fd point(make_in_root(root, target, true));
  if (!point.valid() || mount(source, FdPath(point.get()).text, nullptr, MS_BIND, nullptr) < 0)
    fail(child, errno, "bind %s", target);
}

void mount_cgroups(const Child& child, const ContainerSpec& spec, int root) {
  bool unified = spec.cgroup_mounts.size() == 1 && spec.cgroup_mounts[0][0] == '\0';
  unsigned long flags = kNoExec | (spec.sys_read_write ? 0 : MS_RDONLY);
  if (spec.cgroup_mounts.size() == 0) return;
  if (unified) {
    if (!mount_kernel(child, root, "cgroup2", "/sys/fs/cgroup", flags, nullptr))
      warn(child, errno, "mount cgroup2");
    return;
  }
  if (!mount_kernel(child, root, "tmpfs", "/sys/fs/cgroup", kNoExec, "mode=755")) return;
  for (const char* controllers : spec.cgroup_mounts) {
    char target[256];
    snprintf(target, sizeof target, "/sys/fs/cgroup/%s", controllers);
    Fd point(make_in_root(root, target, true));
    if (!point.valid() || mount("cgroup", FdPath(point.get()).text, "cgroup", flags, controllers) < 0)
      warn(child, errno, "mount cgroup %s", controllers);
  }
  mount_attr read_only{};
  read_only.attr_set = MOUNT_ATTR_RDONLY;
  Fd all(open_in_root(root, "/sys/fs/cgroup", O_PATH));
  if (!spec.sys_read_write && mount_setattr(all.get(), "", AT_EMPTY_PATH, &read_only, sizeof read_only) < 0)
    fail(child, errno, "make /sys/fs/cgroup read-only");
}

void mount_kernel_file_systems(const Child& child, const ContainerSpec& spec, int root,
                               const char* shared_memory) {
  if (!mount_kernel(child, root, "proc", "/proc", kNoExec, nullptr)) fail(child, errno, "mount /proc");
  if (!mount_kernel(child, root, "tmpfs", "/dev", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"))
    fail(child, errno, "mount /dev");
  // Without the tty group's id (where there is no such group) terminals still work.
  char pts[80];
  snprintf(pts, sizeof pts, "newinstance,ptmxmode=0666,mode=0620,gid=%u", child.first_id + 5);
  if (!mount_kernel(child, root, "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, pts) &&
      !mount_kernel(child, root, "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC,
                    "newinstance,ptmxmode=0666,mode=0620"))
    fail(child, errno, "mount /dev/pts");
  if (shared_memory[0] != '\0') bind_in_root(child, root, shared_memory, "/dev/shm");
  if (!mount_kernel(child, root, "mqueue", "/dev/mqueue", kNoExec, nullptr))
    fail(child, errno, "mount /dev/mqueue");
  make_devices(child, root, spec.privileged);
  unsigned long sys_flags = kNoExec | (spec.sys_read_write ? 0 : MS_RDONLY);
  if (!mount_kernel(child, root, "sysfs", "/sys", sys_flags, nullptr)) fail(child, errno, "mount /sys");
  mount_cgroups(child, spec, root);
}

/// What is mounted over /proc would decide what later steps, and every tool, read there.
void refuse_proc(const Child& child, const MountSpec& mount_spec, int point) {
  struct statfs info {};
  constexpr long kProc = 0x9fa0;
  if (fstatfs(point, &info) < 0 || info.f_type != kProc) return;
  fail(child, 0, "\"%s\" cannot be mounted because it is inside /proc", mount_spec.target);
}

/// A copy of what `fd` is open on, over `path`. False with errno.
bool bind_descriptor(int fd, const char* path) {
  Fd tree(open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
  return tree.valid() && move_mount(tree.get(), "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) == 0;
}

void attach(const Child& child, int root, const MountSpec& mount_spec, int tree) {
  struct stat info {};
  bool directory = tree < 0 || (fstat(tree, &info) == 0 && S_ISDIR(info.st_mode));
  Fd point(make_in_root(root, mount_spec.target, directory));
  if (!point.valid()) fail(child, errno, "make mount point \"%s\"", mount_spec.target);
  refuse_proc(child, mount_spec, point.get());
  if (tree < 0) {
    unsigned long flags = MS_NOSUID | MS_NODEV | (mount_spec.read_only ? MS_RDONLY : 0);
    if (mount(mount_spec.type, FdPath(point.get()).text, mount_spec.type, flags, mount_spec.options) < 0)
      fail(child, errno, "mount %s at \"%s\"", mount_spec.type, mount_spec.target);
    return;
  }
  if (move_mount(tree, "", point.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
    fail(child, errno, "mount \"%s\" at \"%s\"", mount_spec.source, mount_spec.target);
  close(tree);
}

void make_working_directory(const Child& child, int root) {
  Fd directory(make_in_root(root, child.process->directory, true));
  // A read-only parent or a file in the way is told by chdir later, with the reason.
}

/// The new root becomes "/" and the node's tree is gone from this namespace.
void enter_root(const Child& child, const char* root) {
  if (chdir(root) < 0) fail(child, errno, "chdir to the root file system");
  // "." over ".": the old root is stacked on the new one and no directory is needed to put it.
  if (syscall(SYS_pivot_root, ".", ".") < 0) fail(child, errno, "pivot_root");
  if (umount2(".", MNT_DETACH) < 0) fail(child, errno, "detach the old root");
  if (chdir("/") < 0) fail(child, errno, "chdir /");
}

/// `null` is our own /dev/null: the name may mean something else by now, if a volume is mounted at /dev.
void mask(const Child& child, const char* path, int null) {
  struct stat info {};
  if (lstat(path, &info) < 0) return;  // kernels differ in what they have
  bool masked = S_ISDIR(info.st_mode)
                    ? mount("tmpfs", path, "tmpfs", MS_RDONLY | kNoExec, "size=0,nr_inodes=2") == 0
                    : bind_descriptor(null, path);
  if (!masked && errno != ENOENT) fail(child, errno, "mask %s", path);
}

void make_read_only(const Child& child, const char* path) {
  if (mount(path, path, nullptr, MS_BIND | MS_REC, nullptr) < 0) {
    if (errno == ENOENT) return;
    fail(child, errno, "bind %s", path);
  }
  mount_attr change{};
  change.attr_set = MOUNT_ATTR_RDONLY;
  if (mount_setattr(AT_FDCWD, path, AT_RECURSIVE, &change, sizeof change) < 0)
    fail(child, errno, "make %s read-only", path);
}

}  // namespace

void build_root(const Child& child, const ContainerSpec& spec, const char* shared_memory) {
  // Before our copy of the node's mounts goes private: a bidirectional source must stay in its group.
  Array<int> trees;
  for (const MountSpec& mount_spec : spec.mounts)
    trees.push(strcmp(mount_spec.type, "bind") == 0 ? take_source(child, mount_spec) : -1);
  // Nothing mounted from here on is seen by the node.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0)
    fail(child, errno, "make mounts private");
  for (const char* layer : spec.lower) map_in_place(child, layer);
  map_parent_of(child, spec.root);
  take_mapped_ids(child);
  mount_overlay(child, spec);
  Fd root(open(spec.root, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) fail(child, errno, "open the root file system");
  mount_kernel_file_systems(child, spec, root.get(), shared_memory);
  Fd null(open_in_root(root.get(), "/dev/null", O_PATH));
  for (size_t i = 0; i < spec.mounts.size(); ++i) attach(child, root.get(), spec.mounts[i], trees[i]);
  for (const DeviceSpec& device : spec.devices) make_device(child, root.get(), device);
  // While the root is still writable.
  make_working_directory(child, root.get());
  enter_root(child, spec.root);
  for (const char* path : spec.masked_paths) mask(child, path, null.get());
  for (const char* path : spec.read_only_paths) make_read_only(child, path);
  if (spec.read_only_root) {
    mount_attr change{};
    change.attr_set = MOUNT_ATTR_RDONLY;
    if (mount_setattr(AT_FDCWD, "/", 0, &change, sizeof change) < 0) fail(child, errno, "make / read-only");
  }
}

}  // namespace skiff::init
