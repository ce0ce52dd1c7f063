#pragma once
// What people see: messages on stderr, tables on stdout.

#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"

namespace skiff::cli {

/// "skiff: message", and a second line with the command that helps, when there is one. Returns kFailed.
int fail(const Error& error, const std::string& help = "");

/// Steps with the time since the start: rewritten in place on a terminal, one plain line each elsewhere.
class ProgressLine {
 public:
  ProgressLine();
  void step(const std::string& text);
  /// Ends with `text`, which stays.
  void finish(const std::string& text);

 private:
  std::string elapsed() const;
  const bool terminal_;
  const TimePoint began_;
};

/// Columns padded to their widest cell, as kubectl prints them.
void print_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace skiff::cli
