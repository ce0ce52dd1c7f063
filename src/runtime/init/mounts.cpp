// Mounts of the node itself: volumes that containers bind later.

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "node.hpp"
#include "overlay.hpp"

namespace skiff::init {
namespace {

struct Wanted {
  const char *source, *target, *type, *options;
  unsigned long flags = MS_NOSUID | MS_NODEV;
};

Wanted parse(const Buffer& fields) {
  Wanted wanted{text_of(fields, wire::Tag::Source), text_of(fields, wire::Tag::Target),
                text_of(fields, wire::Tag::Type), text_of(fields, wire::Tag::Options)};
  if (number_of(fields, wire::Tag::ReadOnly) != 0) wanted.flags |= MS_RDONLY;
  return wanted;
}

/// An image as a volume: its layers, read-only and not executable. False with errno.
bool mount_image(const Buffer& fields, const Wanted& wanted) {
  OverlayOptions options;
  wire::FieldReader reader(fields.data(), fields.size());
  const char* prefix = "lowerdir=";
  for (wire::Field field; reader.next(field); ) {
    if (field.tag != wire::Tag::Lower) continue;
    if (!options.add(prefix, field.text())) return false;
    prefix = ":";
  }
  return mount("overlay", wanted.target, "overlay", wanted.flags | MS_RDONLY | MS_NOEXEC, options.text()) == 0;
}

bool never_waits(const char* type) { return strcmp(type, "tmpfs") == 0 || strcmp(type, "hugetlbfs") == 0; }

}  // namespace

void Node::mount_in_node(const Request& request, const Buffer& fields) {
  Wanted wanted = parse(fields);
  bool image = strcmp(wanted.type, "overlay") == 0;
  if (!image && !never_waits(wanted.type)) return mount_slowly(request, fields);
  bool mounted = image ? mount_image(fields, wanted)
                       : mount(wanted.source, wanted.target, wanted.type, wanted.flags, wanted.options) == 0;
  reply_mounted(request, fields, mounted ? 0 : errno);
}

/// A file system of the network may keep its caller waiting for long: a child does it, its exit code is the errno.
void Node::mount_slowly(const Request& request, const Buffer& fields) {
  pid_t pid = clone_into(-1, 0);
  if (pid == 0) {
    Wanted wanted = parse(fields);
    bool mounted = mount(wanted.source, wanted.target, wanted.type, wanted.flags, wanted.options) == 0;
    _exit(mounted ? 0 : errno);
  }
  if (pid < 0) return reply_mounted(request, fields, errno);
  auto* pending = new SlowMount{pid, request, {}};
  pending->fields.append(fields.data(), fields.size());
  slow_mounts_.push(pending);
}

void Node::slow_mount_ended(SlowMount& pending, int status) {
  reply_mounted(pending.request, pending.fields, WIFEXITED(status) ? WEXITSTATUS(status) : EINTR);
  slow_mounts_.remove(&pending);
  delete &pending;
}

void Node::reply_mounted(const Request& request, const Buffer& fields, int failure) {
  if (failure == 0) return done(request);
  Wanted wanted = parse(fields);
  char text[600];
  snprintf(text, sizeof text, "mount %s at \"%s\"", wanted.type, wanted.target);
  server_.reply_failure(request, failure, text);
}

void Node::unmount_in_node(const Request& request, const Buffer& fields) {
  const char* target = text_of(fields, wire::Tag::Target);
  if (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
    return server_.reply_failure(request, errno, "unmount");
  done(request);
}

}  // namespace skiff::init
