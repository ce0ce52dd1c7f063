#pragma once
// Loop devices: a file as a block device.

#include <string>

#include "base/error.hpp"

namespace skiff::sys {

/// The device that shows `file` ("/dev/loop3"), attached unless one is already. Any thread, any process.
Result<std::string> attach_loop(const std::string& file);
/// Detaches; a device that is still open goes with its last user. One that is detached is fine.
Status detach_loop(const std::string& device);

}  // namespace skiff::sys
