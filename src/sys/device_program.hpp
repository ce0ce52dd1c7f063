#pragma once
// Which devices the processes of a cgroup v2 group may use: the eBPF program that takes the place of v1's devices.allow.

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace skiff::sys {

/// The program for rules of the v1 form ("c 1:3 rwm", "b *:* m", "a"): what none of them allows is refused. Each
/// instruction is eight bytes, as the kernel has them. Invalid: no such rule.
Result<std::vector<std::uint64_t>> device_program(const std::vector<std::string>& rules);

/// Loads it. System with EPERM: this process may not.
Result<UniqueFd> load_device_program(const std::vector<std::uint64_t>& program);
/// From now on the group's processes are held to it; an earlier program of ours is replaced.
Status attach_device_program(const std::string& group_directory, const UniqueFd& program);

}  // namespace skiff::sys
