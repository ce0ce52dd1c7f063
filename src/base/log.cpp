#include "base/log.hpp"

#include <time.h>
#include <unistd.h>

#include <atomic>
#include <string>

namespace skiff::log {
namespace {

std::atomic<Level> threshold{Level::Info};

char letter(Level level) {
  switch (level) {
    case Level::Debug: return 'D';
    case Level::Info: return 'I';
    case Level::Warning: return 'W';
    case Level::Error: return 'E';
  }
  return '?';
}

}  // namespace

void set_level(Level level) { threshold = level; }
bool enabled(Level level) { return level >= threshold.load(std::memory_order_relaxed); }

void write(Level level, std::string_view component, std::string_view message) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  localtime_r(&now.tv_sec, &parts);
  std::string line = fmt::format("{:02}:{:02}:{:02}.{:03} {} {}: {}\n", parts.tm_hour, parts.tm_min, parts.tm_sec,
                                 now.tv_nsec / 1000000, letter(level), component, message);
  // One write(2) a line keeps lines of several threads apart; a closed stderr loses the line and nothing else.
  [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace skiff::log
