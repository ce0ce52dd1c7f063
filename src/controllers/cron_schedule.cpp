#include "controllers/cron_schedule.hpp"

#include <fmt/core.h>

#include <array>
#include <charconv>
#include <chrono>
#include <vector>

namespace skiff::controllers {
namespace {

using std::chrono::sys_days;

struct Field {
  const char* name;
  int least, most;
  std::string_view names;  // three letters each, from `least` on
};
constexpr std::array<Field, 5> kFields = {{{"minute", 0, 59, ""},
                                           {"hour", 0, 23, ""},
                                           {"day of month", 1, 31, ""},
                                           {"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
                                           {"day of week", 0, 6, "sunmontuewedthufrisat"}}};

constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kDescriptors = {
    {{"@yearly", "0 0 1 1 *"},
     {"@annually", "0 0 1 1 *"},
     {"@monthly", "0 0 1 * *"},
     {"@weekly", "0 0 * * 0"},
     {"@daily", "0 0 * * *"},
     {"@midnight", "0 0 * * *"},
     {"@hourly", "0 * * * *"}}};

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    size_t end = text.find_first_of(separators);
    if (end != 0) parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

Error bad(const Field& field, std::string_view text) {
  return error(Code::Invalid, "failed to parse {} '{}'", field.name, text);
}

Result<int> number(const Field& field, std::string_view text) {
  if (text.size() == 3 && !field.names.empty()) {
    std::string lower(text);
    for (char& c : lower) c = static_cast<char>(c | 0x20);
    for (size_t at = 0; at < field.names.size(); at += 3)
      if (field.names.substr(at, 3) == lower) return field.least + static_cast<int>(at / 3);
  }
  int value = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size()) return bad(field, text);
  return value;
}

// One element of a list: "*", "5", "1-5", "*/10", "1-5/2", "3/2".
Result<std::uint64_t> bits_of(const Field& field, std::string_view text) {
  size_t slash = text.find('/');
  std::string_view range = text.substr(0, slash);
  int from = field.least, to = field.most, step = 1;
  if (range != "*" && range != "?") {
    size_t dash = range.find('-');
    TRY_ASSIGN(from, number(field, range.substr(0, dash)));
    to = from;
    if (dash != std::string_view::npos) {
      TRY_ASSIGN(to, number(field, range.substr(dash + 1)));
    } else if (slash != std::string_view::npos) {
      to = field.most;
    }
  }
  if (slash != std::string_view::npos) {
    TRY_ASSIGN(step, number(field, text.substr(slash + 1)));
  }
  if (from < field.least || to > field.most || from > to || step < 1) return bad(field, text);
  std::uint64_t bits = 0;
  for (int value = from; value <= to; value += step) bits |= std::uint64_t{1} << value;
  return bits;
}

Result<std::uint64_t> field_bits(const Field& field, std::string_view text) {
  std::uint64_t bits = 0;
  for (std::string_view part : split(text, ",")) {
    TRY_ASSIGN(std::uint64_t more, bits_of(field, part));
    bits |= more;
  }
  if (bits == 0) return bad(field, text);
  return bits;
}

// "1h30m" in seconds.
Result<std::int64_t> duration(std::string_view text) {
  std::int64_t total = 0;
  const char *at = text.data(), *end = at + text.size();
  while (at < end) {
    std::int64_t value = 0;
    auto [stopped, failure] = std::from_chars(at, end, value);
    std::int64_t unit = stopped == end    ? 0
                        : *stopped == 'h' ? 3600
                        : *stopped == 'm' ? 60
                        : *stopped == 's' ? 1
                                          : 0;
    if (failure != std::errc() || unit == 0)
      return error(Code::Invalid, "failed to parse duration @every {}", text);
    total += value * unit;
    at = stopped + 1;
  }
  if (total < 1) return error(Code::Invalid, "failed to parse duration @every {}", text);
  return total;
}

constexpr std::chrono::days kHorizon{5 * 366};

bool has(std::uint64_t bits, unsigned value) { return (bits >> value & 1) != 0; }

bool is_any(std::string_view text) { return text.starts_with("*") || text.starts_with("?"); }

}  // namespace

Result<CronSchedule> CronSchedule::parse(std::string_view text, const TimeZone& zone) {
  CronSchedule schedule;
  schedule.zone_ = zone;
  if (text.starts_with("@every ")) {
    TRY_ASSIGN(schedule.every_, duration(text.substr(7)));
    return schedule;
  }
  for (const auto& [name, fields] : kDescriptors)
    if (text == name) text = fields;
  std::vector<std::string_view> parts = split(text, " \t");
  if (parts.size() != kFields.size())
    return error(Code::Invalid, "expected exactly 5 fields, found {}: [{}]", parts.size(), text);
  std::uint64_t* const targets[] = {&schedule.minutes_, &schedule.hours_, &schedule.days_, &schedule.months_,
                                    &schedule.weekdays_};
  for (size_t i = 0; i < parts.size(); ++i) {
    TRY_ASSIGN(*targets[i], field_bits(kFields[i], parts[i]));
  }
  schedule.any_day_ = is_any(parts[2]);
  schedule.any_weekday_ = is_any(parts[4]);
  return schedule;
}

// A day is meant when both fields say so, or either when both are restricted.
bool CronSchedule::day_matches(sys_days day) const {
  std::chrono::year_month_day date(day);
  if (!has(months_, static_cast<unsigned>(date.month()))) return false;
  bool of_month = has(days_, static_cast<unsigned>(date.day()));
  bool of_week = has(weekdays_, std::chrono::weekday(day).c_encoding());
  return any_day_ || any_weekday_ ? of_month && of_week : of_month || of_week;
}

// By the fields alone, in [start, until); `start` is a whole minute.
std::optional<WallTime> CronSchedule::next_local(WallTime start, WallTime until) const {
  using std::chrono::days;
  for (sys_days day = std::chrono::floor<days>(start); day < until; day += days(1)) {
    if (!day_matches(day)) continue;
    for (unsigned hour = 0; hour < 24; ++hour) {
      if (!has(hours_, hour)) continue;
      for (unsigned minute = 0; minute < 60; ++minute) {
        WallTime moment = day + std::chrono::hours(hour) + std::chrono::minutes(minute);
        if (has(minutes_, minute) && moment >= start) return moment < until ? std::optional(moment) : std::nullopt;
      }
    }
  }
  return std::nullopt;
}

// Stretch by stretch of one offset from UTC, within which local time runs as evenly as UTC.
std::optional<api::Time> CronSchedule::next(api::Time after) const {
  using std::chrono::minutes;
  if (every_ > 0) return api::Time::from(after.wall() + std::chrono::seconds(every_));
  const WallTime horizon = after.wall() + kHorizon;
  TimeZone::Stretch stretch = zone_.stretch_at(after.wall());
  WallTime start = std::chrono::floor<minutes>(after.wall() + stretch.offset) + minutes(1);
  for (;;) {
    const WallTime until = std::min(stretch.end, horizon);
    if (auto found = next_local(start, until + stretch.offset)) return api::Time::from(*found - stretch.offset);
    if (until == horizon) return std::nullopt;
    stretch = zone_.stretch_at(until);
    start = std::chrono::ceil<minutes>(until + stretch.offset);
  }
}

std::optional<api::Time> CronSchedule::latest(api::Time from, api::Time to) const {
  using std::chrono::days;
  if (every_ > 0) {
    std::int64_t times = (to.unix_seconds() - from.unix_seconds()) / every_;
    if (times < 1) return std::nullopt;
    return api::Time::from(from.wall() + std::chrono::seconds(times * every_));
  }
  std::optional<api::Time> found;
  // Backwards day by day: however long ago `from` is, the last match is near `to` or rare.
  for (sys_days day = std::chrono::floor<days>(to.wall()); day + days(1) > from.wall(); day -= days(1)) {
    for (std::optional<api::Time> moment =
             next(std::max(from, api::Time::from(WallTime(day) - std::chrono::seconds(1))));
         moment && *moment <= to && moment->wall() < day + days(1); moment = next(*moment))
      found = moment;
    if (found || day < std::chrono::floor<days>(to.wall()) - kHorizon) break;
  }
  return found;
}

}  // namespace skiff::controllers
