#include "base/time_zone.hpp"

// As Debian built the library: zones come from /usr/share/zoneinfo.
#define USE_OS_TZDB 1
#include <date/tz.h>

namespace skiff {

Result<TimeZone> TimeZone::named(const std::string& name) {
  TimeZone zone;
  if (name.empty() || name == "UTC") return zone;
  try {
    zone.zone_ = date::locate_zone(name);
    static_cast<void>(zone.zone_->get_info(date::sys_seconds{}));  // read now, so that a broken file shows here
  } catch (const std::exception&) {
    return error(Code::NotFound, "unknown time zone {}", name);
  }
  return zone;
}

TimeZone::Stretch TimeZone::stretch_at(WallTime moment) const {
  if (!zone_) return {WallTime::min(), WallTime::max(), std::chrono::seconds(0)};
  const date::sys_info info = zone_->get_info(moment);
  // The database ends its last stretch beyond what a WallTime holds.
  auto clamped = [](date::sys_seconds at) {
    using std::chrono::floor;
    if (at >= floor<std::chrono::seconds>(WallTime::max())) return WallTime::max();
    if (at <= floor<std::chrono::seconds>(WallTime::min()) + std::chrono::seconds(1)) return WallTime::min();
    return WallTime(at.time_since_epoch());
  };
  return {clamped(info.begin), clamped(info.end), info.offset};
}

}  // namespace skiff
