#pragma once

#include <functional>
#include <optional>

#include "base/error.hpp"

namespace skiff::controllers {

struct SlowStart {
  int done = 0;
  std::optional<Error> error;  // of the batch that stopped it
};

/// Calls `make` up to `count` times: once, then twice as many at a time as long as all succeed, so that what
/// cannot work fails once and not five hundred times. The calls of one batch run on several threads; all have
/// returned when this does.
SlowStart slow_start(int count, const std::function<Status()>& make);

}  // namespace skiff::controllers
