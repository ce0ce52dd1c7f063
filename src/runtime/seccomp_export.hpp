#pragma once
// From libseccomp's filter to the program for the kernel. Internal to the room.

#include <string>

#include "base/error.hpp"

namespace skiff::runtime {

/// `filter` is a scmp_filter_ctx; struct sock_filter[] as bytes.
Result<std::string> export_seccomp(void* filter);

}  // namespace skiff::runtime
