#pragma once

#include "child.hpp"

namespace skiff::init {

/// One more device at its target, its directories made when missing.
void make_device(const Child& child, int root, const DeviceSpec& device);

/// Fills /dev (a fresh tmpfs in `root`) with the standard devices and links; for a privileged container also
/// with every device of the host.
void make_devices(const Child& child, int root, bool privileged);

}  // namespace skiff::init
