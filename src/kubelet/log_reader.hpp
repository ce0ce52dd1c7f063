#pragma once
// Reads the log files that skiff-init writes (CRI format), as `kubectl logs` asks for them.

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/fd.hpp"

namespace skiff::kubelet {

struct LogEntry {
  std::string_view time;    // RFC 3339 with nanoseconds
  std::string_view stream;  // "stdout" or "stderr"
  bool partial = false;     // the line goes on in the next entry
  std::string_view content;
};
/// nullopt: not an entry (cut off by a crash).
std::optional<LogEntry> parse_entry(std::string_view line);

struct LogQuery {
  bool timestamps = false;
  std::optional<WallTime> since;
  std::optional<std::int64_t> tail_lines;
  std::optional<std::int64_t> limit_bytes;
  std::string stream;  // "" for both, "stdout" or "stderr"
};

/// One reader of one container's log. read() may be called again later: it goes on where it stopped, through all files that
/// were begun since.
class LogReader {
 public:
  /// NotFound: there is no such file.
  static Result<LogReader> open(std::string path, LogQuery query);

  /// Hands over what there is now; false from `write` or a reached limit ends it for good.
  Status read(const std::function<bool(std::string_view)>& write);
  bool ended() const { return ended_; }

 private:
  LogReader(std::string path, LogQuery query) : path_(std::move(path)), query_(std::move(query)) {}
  Result<std::int64_t> start_of_tail() const;
  Status read_file(const std::function<bool(std::string_view)>& write);
  bool emit(const LogEntry& entry, const std::function<bool(std::string_view)>& write);
  bool take_lines(const std::function<bool(std::string_view)>& write);
  bool wants(const LogEntry& entry) const;
  std::string name(int age) const;
  std::optional<int> age() const;
  Result<bool> next_file();
  Status open_file(int age);

  std::string path_;
  LogQuery query_;
  UniqueFd file_;         // kept open: its inode is not given to another file, and it can be read when it is deleted
  std::uint64_t inode_ = 0;
  std::string rest_;      // the start of an entry whose end is not there yet
  bool in_line_ = false;  // the last entry was partial
  std::int64_t sent_ = 0;
  bool ended_ = false;
};

/// The last lines of a log, without time and stream, at most `max_bytes`; "" when there is none.
std::string last_lines(const std::string& path, int lines, size_t max_bytes);

}  // namespace skiff::kubelet
