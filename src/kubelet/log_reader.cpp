#include "kubelet/log_reader.hpp"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <deque>

#include "api/values.hpp"
#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

constexpr int kOldest = 9;  // more than are kept

/// The moment of an entry's time, to the microsecond.
std::optional<WallTime> moment_of(std::string_view time) {
  Result<api::MicroTime> parsed = api::MicroTime::parse(time);
  if (!parsed.ok()) return std::nullopt;
  return parsed.value().wall();
}

Result<struct stat> status_of(const UniqueFd& fd, const std::string& path) {
  struct stat info {};
  if (::fstat(fd.get(), &info) < 0) return errno_error(errno, "stat '{}'", path);
  return info;
}

}  // namespace

std::optional<LogEntry> parse_entry(std::string_view line) {
  LogEntry entry;
  size_t first = line.find(' ');
  size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  size_t third = second == std::string_view::npos ? second : line.find(' ', second + 1);
  if (third == std::string_view::npos) return std::nullopt;
  entry.time = line.substr(0, first);
  entry.stream = line.substr(first + 1, second - first - 1);
  entry.partial = line.substr(second + 1, third - second - 1).starts_with("P");
  entry.content = line.substr(third + 1);
  return entry;
}

Result<LogReader> LogReader::open(std::string path, LogQuery query) {
  LogReader reader(std::move(path), std::move(query));
  TRY(reader.open_file(0));
  TRY_ASSIGN(std::int64_t start, reader.start_of_tail());
  if (::lseek(reader.file_.get(), start, SEEK_SET) < 0) return errno_error(errno, "seek in '{}'", reader.path_);
  return reader;
}

bool LogReader::wants(const LogEntry& entry) const {
  if (!query_.stream.empty() && entry.stream != query_.stream) return false;
  if (!query_.since) return true;
  std::optional<WallTime> moment = moment_of(entry.time);
  return !moment || *moment >= *query_.since;
}

/// Where the last N lines start, reading once from the front: logs are at most one rotation long.
Result<std::int64_t> LogReader::start_of_tail() const {
  if (!query_.tail_lines) return 0;
  std::string text;
  while (true) {
    TRY_ASSIGN(std::string part, sys::read_some(file_, 1U << 20, path_));
    if (part.empty()) break;
    text += part;
  }
  std::deque<std::int64_t> starts;
  bool in_line = false;
  std::int64_t end = 0;
  for (size_t at = 0; at < text.size();) {
    size_t newline = text.find('\n', at);
    if (newline == std::string::npos) break;
    std::optional<LogEntry> entry = parse_entry(std::string_view(text).substr(at, newline - at));
    bool counted = entry && (query_.stream.empty() || entry->stream == query_.stream);
    if (counted && !in_line) starts.push_back(static_cast<std::int64_t>(at));
    if (counted) in_line = entry->partial;
    if (static_cast<std::int64_t>(starts.size()) > *query_.tail_lines) starts.pop_front();
    at = newline + 1;
    end = static_cast<std::int64_t>(at);
  }
  return starts.empty() ? end : starts.front();
}

bool LogReader::emit(const LogEntry& entry, const std::function<bool(std::string_view)>& write) {
  if (!wants(entry)) return true;
  std::string text;
  if (query_.timestamps && !in_line_) text = std::string(entry.time) + " ";
  text += entry.content;
  if (!entry.partial) text += '\n';
  in_line_ = entry.partial;
  if (query_.limit_bytes && sent_ + static_cast<std::int64_t>(text.size()) >= *query_.limit_bytes) {
    text.resize(static_cast<size_t>(*query_.limit_bytes - sent_));
    ended_ = true;
  }
  sent_ += static_cast<std::int64_t>(text.size());
  if (!text.empty() && !write(text)) ended_ = true;
  return !ended_;
}

bool LogReader::take_lines(const std::function<bool(std::string_view)>& write) {
  size_t at = 0;
  for (size_t newline; (newline = rest_.find('\n', at)) != std::string::npos; at = newline + 1) {
    std::optional<LogEntry> entry = parse_entry(std::string_view(rest_).substr(at, newline - at));
    if (entry && !emit(*entry, write)) return false;
  }
  rest_.erase(0, at);
  return true;
}

std::string LogReader::name(int age) const { return age == 0 ? path_ : fmt::format("{}.{}", path_, age); }

/// How often the file that is being read was rotated away since; nothing: so often that it is gone.
std::optional<int> LogReader::age() const {
  for (int age = 0; age <= kOldest; ++age)
    if (Result<struct stat> info = sys::stat_of(name(age)); info.ok() && info.value().st_ino == inode_) return age;
  return std::nullopt;
}

Status LogReader::open_file(int age) {
  TRY_ASSIGN(file_, sys::open(name(age), O_RDONLY));
  TRY_ASSIGN(struct stat info, status_of(file_, path_));
  inode_ = info.st_ino;
  return ok();
}

/// Goes over to the file that followed the one being read; false: it is the newest. A rotation while we look would have us
/// pass over a file, so where we are is looked at again.
Result<bool> LogReader::next_file() {
  for (;;) {
    std::optional<int> before = age();
    if (before == 0) return false;
    // Deleted meanwhile: the oldest one left goes on.
    int next = before ? *before - 1 : kOldest;
    while (!before && next > 0 && !sys::exists(name(next))) --next;
    UniqueFd current = std::move(file_);
    const std::uint64_t inode = inode_;
    Status opened = open_file(next);
    const std::uint64_t followed_by = inode_;
    inode_ = inode;
    bool same = age() == before;
    if (opened.ok() && same) {
      inode_ = followed_by;
      return true;
    }
    file_ = std::move(current);
    if (!opened.ok() && same) return std::move(opened).error();
  }
}

Status LogReader::read_file(const std::function<bool(std::string_view)>& write) {
  while (!ended_) {
    TRY_ASSIGN(std::string part, sys::read_some(file_, 65536, path_));
    if (part.empty()) return ok();
    rest_ += part;
    if (!take_lines(write)) return ok();
  }
  return ok();
}

Status LogReader::read(const std::function<bool(std::string_view)>& write) {
  while (!ended_) {
    TRY(read_file(write));
    if (ended_ || age() == 0) return ok();
    // Rotated away: what was written to it before that is there by now, and nothing will follow.
    TRY(read_file(write));
    TRY_ASSIGN(bool more, next_file());
    if (!more) return ok();
  }
  return ok();
}

std::string last_lines(const std::string& path, int lines, size_t max_bytes) {
  Result<LogReader> reader =
      LogReader::open(path, {.since = {}, .tail_lines = lines, .limit_bytes = {}, .stream = {}});
  std::string text;
  if (!reader.ok()) return text;
  Status read = reader.value().read([&](std::string_view part) {
    text += part;
    return true;
  });
  if (!read.ok()) return "";
  return text.size() > max_bytes ? text.substr(text.size() - max_bytes) : text;
}

}  // namespace skiff::kubelet
