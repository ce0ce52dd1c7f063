#include "cli/output.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "cli/options.hpp"

namespace skiff::cli {

int fail(const Error& error, const std::string& help) {
  fmt::print(stderr, "skiff: {}\n", error.message());
  if (!help.empty()) fmt::print(stderr, "{}\n", help);
  return kFailed;
}

ProgressLine::ProgressLine() : terminal_(::isatty(STDERR_FILENO) == 1), began_(SystemClock().now()) {}

std::string ProgressLine::elapsed() const {
  auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(SystemClock().now() - began_).count();
  return fmt::format("{:6.3f}s", static_cast<double>(milliseconds) / 1000);
}

void ProgressLine::step(const std::string& text) {
  if (terminal_) fmt::print(stderr, "\r\033[K{}  {}", elapsed(), text);
  else fmt::print(stderr, "{}  {}\n", elapsed(), text);
  std::fflush(stderr);
}

void ProgressLine::finish(const std::string& text) {
  fmt::print(stderr, "{}{}  {}\n", terminal_ ? "\r\033[K" : "", elapsed(), text);
}

void print_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) {
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], row[i].size());
    }
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i)
      line += i + 1 < row.size() ? fmt::format("{:<{}}   ", row[i], widths[i]) : row[i];
    fmt::print("{}\n", line);
  }
}

}  // namespace skiff::cli
