#pragma once
// CPU as a rate from counters that only grow, without anybody polling: each question is also a measurement, kept for the
// next one.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/clock.hpp"
#include "base/mutex.hpp"

namespace skiff::kubelet {

struct CpuReading {
  WallTime at{};
  std::uint64_t total_ns = 0;
};

struct CpuRate {
  Duration window{0};  // 0: nothing to compare with yet
  std::uint64_t nanocores = 0;
};

/// Any thread.
class CpuMeter {
 public:
  /// Readings closer together than this do not replace each other: two who ask in turn still see a useful window.
  static constexpr Duration kWindow = 10s;
  /// An average over more than this says little about now.
  static constexpr Duration kStale = 60s;

  /// Notes a reading of `group` and gives the rate since one that is about a window older, or since `started` (with
  /// nothing used then) while there is none.
  CpuRate add(const std::string& group, const CpuReading& now, std::optional<WallTime> started = {});
  /// Whether the last reading is too old to compare with, or there is none. Forgets it then.
  bool stale(const std::string& group, WallTime now);
  /// Forgets all groups but these.
  void keep_only(const std::set<std::string>& groups);

 private:
  struct Kept {
    std::optional<CpuReading> older, newer;
  };
  Mutex mutex_;
  std::map<std::string, Kept> kept_ GUARDED_BY(mutex_);
};

}  // namespace skiff::kubelet
