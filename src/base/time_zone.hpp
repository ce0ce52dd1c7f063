#pragma once

#include <memory>
#include <string>

#include "base/clock.hpp"
#include "base/error.hpp"

namespace date {
class time_zone;
}

namespace skiff {

/// A time zone of the machine's tz database (package tzdata); UTC by default. A value; any thread.
class TimeZone {
 public:
  TimeZone() = default;
  /// By IANA name ("Europe/Berlin"), exactly; "" and "UTC" need no database. NotFound: "unknown time zone ...".
  static Result<TimeZone> named(const std::string& name);

  /// A stretch of time with one offset from UTC: [begin, end).
  struct Stretch {
    WallTime begin, end;
    std::chrono::seconds offset{0};  // local time less UTC
  };
  Stretch stretch_at(WallTime moment) const;

 private:
  const date::time_zone* zone_ = nullptr;  // the database's, which lasts as long as the process
};

}  // namespace skiff
