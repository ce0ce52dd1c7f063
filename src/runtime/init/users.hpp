#pragma once
// Names of users and groups, read from the container's own /etc/passwd and /etc/group. The C library's
// getpwnam is not used: it would load the host's plug-ins or the image's.

#include <stdint.h>
#include <sys/types.h>

#include "memory.hpp"

namespace skiff::init {

struct Identity {
  uid_t uid = 0;
  gid_t gid = 0;
  Array<uint32_t> groups;  // supplementary groups the user has in /etc/group
  char home[256] = "/";
};

enum class Lookup { Found, NoUser, NoGroup };

/// Resolves "", "user" or "user:group", each a name or a number, with "/" being the container's root. Numbers
/// need no entry. `memberships`: also the groups that /etc/group has the user in.
Lookup look_up_user(const char* text, Identity& identity, bool memberships);

}  // namespace skiff::init
