#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "api/values.hpp"
#include "base/time_zone.hpp"

namespace skiff::controllers {

/// When a CronJob runs: the five fields of cron with names, ranges, lists and steps, "@hourly" and its kin,
/// "@every 1h30m" (github.com/robfig/cron's standard parser). The fields are local times of a zone: one that a clock
/// change leaps over is left out, one that it repeats is met twice. A value.
class CronSchedule {
 public:
  /// Invalid: says which field is wrong.
  static Result<CronSchedule> parse(std::string_view text, const TimeZone& zone = {});

  /// The first time after `after`; nothing when there is none within five years (30 February).
  std::optional<api::Time> next(api::Time after) const;
  /// The last time in (from, to]; nothing when there is none.
  std::optional<api::Time> latest(api::Time from, api::Time to) const;

 private:
  bool day_matches(std::chrono::sys_days day) const;
  std::optional<WallTime> next_local(WallTime start, WallTime until) const;

  std::uint64_t minutes_ = 0, hours_ = 0, days_ = 0, months_ = 0, weekdays_ = 0;  // a bit a value
  bool any_day_ = false, any_weekday_ = false;
  std::int64_t every_ = 0;  // seconds; 0: by the fields
  TimeZone zone_;
};

}  // namespace skiff::controllers
