#pragma once
// How long a crashing container and a missing image are left alone.

#include <algorithm>
#include <optional>

#include "base/clock.hpp"

namespace skiff::kubelet {

/// 10 s, doubled with each restart up to 5 min, forgotten by a container that ran for 10 min. The first
/// restart is immediate, as the kubelet has it. Times are the wall's, since exits are recorded so.
class RestartBackoff {
 public:
  static constexpr Duration kInitial = 10s, kMax = 300s;

  /// How long a container that ended at `finished` has to wait at `now`; zero: start it.
  Duration remaining(WallTime finished, WallTime now) const {
    Duration since = now - finished;
    return since < delay_ ? delay_ - since : Duration::zero();
  }
  /// Call when it is restarted at `now`.
  void restarted(WallTime now) {
    bool stale = last_ && now - *last_ > 2 * kMax;
    delay_ = delay_ == Duration::zero() || stale ? kInitial : std::min<Duration>(delay_ * 2, kMax);
    last_ = now;
  }
  /// What the message says ("back-off 20s restarting ...").
  Duration delay() const { return delay_; }
  /// After a restart of skiff: as if it had been restarted `count` times in a row.
  void restore(int count, WallTime now) {
    for (int i = 0; i < std::min(count, 6); ++i) restarted(now);
  }

 private:
  Duration delay_{0};
  std::optional<WallTime> last_;
};

/// The same for images: 10 s doubled up to 5 min between attempts.
class ImageBackoff {
 public:
  bool waiting(TimePoint now) const { return now < next_; }
  /// The failure itself is shown for a moment before the waiting is.
  bool just_failed(TimePoint now) const { return now < shown_until_; }
  TimePoint shown_until() const { return shown_until_; }
  TimePoint next() const { return next_; }
  void failed(TimePoint now) {
    delay_ = delay_ == Duration::zero() ? RestartBackoff::kInitial
                                        : std::min<Duration>(delay_ * 2, RestartBackoff::kMax);
    next_ = now + delay_;
    shown_until_ = now + 2s;
  }
  void reset() { *this = {}; }

 private:
  Duration delay_{0};
  TimePoint next_{}, shown_until_{};
};

}  // namespace skiff::kubelet
