#include <time.h>

#include <charconv>

#include "api/values.hpp"

namespace skiff::api {
namespace {

struct Moment {
  std::int64_t seconds;
  std::int64_t micros;
};

// Reads exactly `digits` digits at `at`, or -1.
int number_at(std::string_view text, size_t at, size_t digits) {
  if (at + digits > text.size()) return -1;
  int value = 0;
  for (size_t i = at; i < at + digits; ++i) {
    if (text[i] < '0' || text[i] > '9') return -1;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

Error not_a_time(std::string_view text) {
  return error(Code::BadRequest,
               "parsing time \"{}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"{}\" as \"2006\"", text, text);
}

// The offset in seconds of "Z", "+01:00" or "-01:00" at the end of `zone`.
std::optional<int> zone_offset(std::string_view zone) {
  if (zone == "Z" || zone == "z") return 0;
  if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-') || zone[3] != ':') return std::nullopt;
  int hours = number_at(zone, 1, 2), minutes = number_at(zone, 4, 2);
  if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return std::nullopt;
  return (zone[0] == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
}

Result<Moment> parse_rfc3339(std::string_view text) {
  int year = number_at(text, 0, 4), month = number_at(text, 5, 2), day = number_at(text, 8, 2);
  int hour = number_at(text, 11, 2), minute = number_at(text, 14, 2), second = number_at(text, 17, 2);
  bool shaped = text.size() >= 20 && text[4] == '-' && text[7] == '-' && (text[10] == 'T' || text[10] == 't') &&
                text[13] == ':' && text[16] == ':';
  if (!shaped || year < 0 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23 || minute < 0 ||
      minute > 59 || second < 0 || second > 59)
    return not_a_time(text);
  std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                   std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return not_a_time(text);
  size_t at = 19;
  std::int64_t micros = 0;
  if (text[at] == '.') {
    std::int64_t unit = 100000;
    size_t begin = ++at;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, unit /= 10)
      micros += (text[at] - '0') * unit;
    if (at == begin) return not_a_time(text);
  }
  std::optional<int> offset = zone_offset(text.substr(at));
  if (!offset) return not_a_time(text);
  std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return Moment{days * 86400 + hour * 3600 + minute * 60 + second - *offset, micros};
}

std::string civil(std::int64_t seconds) {
  auto day = std::chrono::floor<std::chrono::days>(std::chrono::sys_seconds(std::chrono::seconds(seconds)));
  std::chrono::year_month_day date(day);
  std::int64_t rest = seconds - day.time_since_epoch().count() * 86400;
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), rest / 3600,
                     rest / 60 % 60, rest % 60);
}

}  // namespace

Time Time::from(WallTime moment) {
  Time time;
  time.seconds_ = std::chrono::floor<std::chrono::seconds>(moment).time_since_epoch().count();
  return time;
}

Result<Time> Time::parse(std::string_view text) {
  TRY_ASSIGN(Moment moment, parse_rfc3339(text));
  Time time;
  time.seconds_ = moment.seconds;
  return time;
}

std::string Time::text() const { return *this ? civil(seconds_) + "Z" : ""; }

MicroTime MicroTime::from(WallTime moment) {
  MicroTime time;
  time.micros_ = moment.time_since_epoch().count();
  return time;
}

Result<MicroTime> MicroTime::parse(std::string_view text) {
  TRY_ASSIGN(Moment moment, parse_rfc3339(text));
  MicroTime time;
  time.micros_ = moment.seconds * 1000000 + moment.micros;
  return time;
}

std::string MicroTime::text() const {
  if (!*this) return "";
  std::int64_t seconds = std::chrono::floor<std::chrono::seconds>(wall()).time_since_epoch().count();
  return fmt::format("{}.{:06}Z", civil(seconds), micros_ - seconds * 1000000);
}

}  // namespace skiff::api
