#pragma once

#include <algorithm>

#include "base/clock.hpp"

namespace skiff {

/// Exponential delays: `initial`, doubled each time, never above `max`. Not thread-safe; one per key.
class Backoff {
 public:
  Backoff(Duration initial, Duration max) : initial_(initial), max_(max) {}

  /// The delay before the next attempt.
  Duration next() {
    current_ = current_ == Duration::zero() ? initial_ : std::min(current_ * 2, max_);
    return current_;
  }
  void reset() { current_ = Duration::zero(); }

 private:
  Duration initial_;
  Duration max_;
  Duration current_ = Duration::zero();
};

}  // namespace skiff
