#pragma once
// How a process moves into control groups.

#include <stddef.h>

#include "memory.hpp"

namespace skiff::init {

/// Moves this process, which has one thread, into `directories`: one of cgroup v2, or one a controller of v1. There it moves
/// by its thread: to move a process the kernel waits for all processors (an RCU grace period, 7 ms and more), and whoever
/// makes or removes control groups meanwhile waits, too. Null, or the directory that failed with errno.
const char* join_groups(const Array<const char*>& directories);

}  // namespace skiff::init
