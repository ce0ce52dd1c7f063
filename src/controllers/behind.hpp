#pragma once

#include "client/controller.hpp"

namespace skiff::controllers {

/// What a reconcile returns when a fence has not been passed: the event of the write will bring the key back. Should that
/// event never come, because what was written is gone again before a new list, the key comes back by itself.
inline client::Requeue behind() { return client::Requeue::in(std::chrono::seconds(1)); }

}  // namespace skiff::controllers
