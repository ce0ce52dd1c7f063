#pragma once

#include <string>

#include "base/error.hpp"
#include "runtime/capabilities.hpp"

namespace skiff::runtime {

/// The default profile of containerd and Docker as a BPF program: a list of allowed calls, the rest fails
/// with EPERM (clone3 with ENOSYS, so that C libraries fall back to clone). `capabilities` widen it as they
/// do there. Costs about a millisecond; keep the result.
Result<std::string> default_seccomp(CapabilitySet capabilities);

}  // namespace skiff::runtime
