#pragma once
// Pods whose ids are not the node's (hostUsers: false).

#include <stdint.h>

#include "child.hpp"
#include "node.hpp"

namespace skiff::init {

constexpr uint32_t kIds = 65536;

/// Makes the sandbox's namespaces of the `flags` kinds within a new user namespace, whose ids begin at `first_id` of ours, so
/// that its root has rights over them. False with errno and what failed in `step`.
bool make_in_user_namespace(Sandbox& sandbox, unsigned long flags, uint32_t first_id, const char*& step);

/// Runs in a process that is alone in new namespaces: host name, lo, sysctls. False with errno.
bool furnish_namespaces(const Sandbox& sandbox, bool network, bool uts, const char*& step);

// Stages of a container's child, nothing without a user namespace. As the pod's root from here on, and still with every right
// of the node: what is made has an owner whom the pod knows.
void take_mapped_ids(const Child& child);
/// Mounts `path` over itself with mapped ids, for this process alone.
void map_in_place(const Child& child, const char* path);
/// Maps the ids of a detached mount.
void map_ids(const Child& child, int tree, const char* name);
/// Gives up the rights of the node. The mounts that are there become those of a less privileged namespace, and fixed.
void enter_user_namespace(const Child& child);

}  // namespace skiff::init
