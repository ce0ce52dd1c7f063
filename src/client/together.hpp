#pragma once

#include <functional>
#include <vector>

#include "base/error.hpp"

namespace skiff::client {

using Task = std::function<Status()>;

/// Runs all tasks at once, each on a short-lived thread of its own, so that writes among them meet in one batch of the
/// store instead of waiting for the disk one after another. Returns when all have ended: the first error in their order.
Status run_together(const std::vector<Task>& tasks);

}  // namespace skiff::client
