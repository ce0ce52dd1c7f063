#include "registry/kinds/schedules.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <iterator>
#include <optional>
#include <sstream>
#include <string_view>
#include <vector>

namespace skiff::registry {
namespace {

struct Bounds {
  unsigned low, high;
  std::vector<std::string_view> names;  // of low, low + 1, ...
};

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (;;) {
    size_t end = text.find(at);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// A number or a name of the bounds; `problem` says why not.
std::optional<unsigned> parse_number(std::string_view text, const Bounds& bounds, std::string& problem) {
  std::string lowered(text);
  std::transform(lowered.begin(), lowered.end(), lowered.begin(), [](unsigned char c) { return std::tolower(c); });
  auto name = std::find(bounds.names.begin(), bounds.names.end(), lowered);
  if (name != bounds.names.end()) return bounds.low + static_cast<unsigned>(name - bounds.names.begin());
  std::string_view digits = text;
  bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  bool number = !digits.empty() && digits.size() <= 9 &&
                std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!number) {
    problem = fmt::format("failed to parse int from {}: strconv.Atoi: parsing \"{}\": invalid syntax", text, text);
    return std::nullopt;
  }
  unsigned value = static_cast<unsigned>(std::stoul(std::string(digits)));
  if (negative) {
    problem = fmt::format("negative number (-{}) not allowed: {}", value, text);
    return std::nullopt;
  }
  return value;
}

// "*", "1-5", "*/2", "mon-fri/2".
std::string range_problem(std::string_view text, const Bounds& bounds) {
  std::string problem;
  std::vector<std::string_view> range_and_step = split(text, '/');
  std::vector<std::string_view> ends = split(range_and_step[0], '-');
  bool single = ends.size() == 1;
  unsigned start = bounds.low, end = bounds.high;
  if (ends[0] != "*" && ends[0] != "?") {
    auto from = parse_number(ends[0], bounds, problem);
    if (!from) return problem;
    start = end = *from;
    if (ends.size() > 2) return fmt::format("too many hyphens: {}", text);
    if (ends.size() == 2) {
      auto to = parse_number(ends[1], bounds, problem);
      if (!to) return problem;
      end = *to;
    }
  }
  unsigned step = 1;
  if (range_and_step.size() > 2) return fmt::format("too many slashes: {}", text);
  if (range_and_step.size() == 2) {
    auto every = parse_number(range_and_step[1], {0, 0, {}}, problem);
    if (!every) return problem;
    step = *every;
    if (single) end = bounds.high;
  }
  if (start < bounds.low) return fmt::format("beginning of range ({}) below minimum ({}): {}", start, bounds.low, text);
  if (end > bounds.high) return fmt::format("end of range ({}) above maximum ({}): {}", end, bounds.high, text);
  if (start > end) return fmt::format("beginning of range ({}) beyond end of range ({}): {}", start, end, text);
  if (step == 0) return fmt::format("step of range should be a positive number: {}", text);
  return "";
}

std::string field_problem(std::string_view field, const Bounds& bounds) {
  for (std::string_view range : split(field, ','))
    if (std::string problem = range.empty() ? "" : range_problem(range, bounds); !problem.empty()) return problem;
  return "";
}

bool is_duration(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  if (text == "0") return true;
  if (text.empty()) return false;
  while (!text.empty()) {
    size_t digits = text.find_first_not_of("0123456789.");
    if (digits == 0 || digits == std::string_view::npos) return false;
    text.remove_prefix(digits);
    size_t unit = std::min(text.find_first_of("0123456789."), text.size());
    std::string_view name = text.substr(0, unit);
    if (name != "h" && name != "m" && name != "s" && name != "ms" && name != "us" && name != "ns") return false;
    text.remove_prefix(unit);
  }
  return true;
}

std::string descriptor_problem(const std::string& text) {
  for (std::string_view known : {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
    if (text == known) return "";
  if (text.starts_with("@every ")) {
    std::string duration = text.substr(7);
    if (is_duration(duration)) return "";
    return fmt::format("failed to parse duration {}: time: invalid duration \"{}\"", text, duration);
  }
  return "unrecognized descriptor: " + text;
}

}  // namespace

std::string schedule_problem(const std::string& schedule) {
  if (schedule.empty()) return "empty spec string";
  if (schedule.starts_with('@')) return descriptor_problem(schedule);
  std::istringstream words(schedule);
  std::vector<std::string> fields{std::istream_iterator<std::string>(words), {}};
  if (fields.size() != 5) {
    std::string all;
    for (const std::string& field : fields) all += (all.empty() ? "" : " ") + field;
    return fmt::format("expected exactly 5 fields, found {}: [{}]", fields.size(), all);
  }
  const Bounds bounds[] = {
      {0, 59, {}},
      {0, 23, {}},
      {1, 31, {}},
      {1, 12, {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
      {0, 6, {"sun", "mon", "tue", "wed", "thu", "fri", "sat"}}};
  for (size_t i = 0; i < fields.size(); ++i)
    if (std::string problem = field_problem(fields[i], bounds[i]); !problem.empty()) return problem;
  return "";
}

}  // namespace skiff::registry
