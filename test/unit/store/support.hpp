#pragma once
// A store in a directory of its own, and short ways to write to it.

#include <catch2/catch.hpp>

#include <stdlib.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "store/store.hpp"

namespace skiff::store::test {

class TempDirectory {
 public:
  TempDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "skiff-store-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TempDirectory() { std::filesystem::remove_all(path_); }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::unique_ptr<Store> open(const Options& options) {
  auto store = Store::open(options);
  if (!store.ok()) FAIL(store.error().message());
  return std::move(store).value();
}

inline Write create(std::string key, std::string value = "v") {
  return {.kind = Write::Kind::Create, .key = std::move(key), .value = std::move(value)};
}
inline Write update(std::string key, std::string value, std::optional<Revision> expect = std::nullopt) {
  return {.kind = Write::Kind::Update, .key = std::move(key), .value = std::move(value), .expect = expect};
}
inline Write remove(std::string key, std::optional<Revision> expect = std::nullopt) {
  return {.kind = Write::Kind::Delete, .key = std::move(key), .expect = expect};
}
inline Write in_memory(Write write) {
  write.durable = false;
  return write;
}

/// The record; a failed write fails the test.
inline RecordRef must(Store& store, Write write) {
  auto written = store.write(std::move(write));
  if (!written.ok()) FAIL(written.error().message());
  return written.value();
}

/// "key=value@modified" of each record.
inline std::vector<std::string> text(const std::vector<RecordRef>& records) {
  std::vector<std::string> lines;
  for (const RecordRef& record : records)
    lines.push_back(fmt::format("{}={}@{}", record->key, record->value, record->modified));
  return lines;
}

/// "+key=value@5" for a put, "-key=value@6" for a deletion; "(was value)" where something was replaced.
inline std::string text(const Event& event) {
  std::string line = fmt::format("{}{}={}@{}", event.type == Event::Type::Put ? '+' : '-', event.record->key,
                                 event.record->value, event.revision);
  if (event.previous) line += fmt::format(" was {}", event.previous->value);
  return line;
}

/// Collects what it is given.
class Collector final : public WatchSink {
 public:
  void on_events(std::span<const EventRef> events) override {
    MutexLock lock(mutex_);
    for (const EventRef& event : events) lines_.push_back(text(*event));
    changed_.notify_all();
  }
  void on_closed(const Error& why) override {
    MutexLock lock(mutex_);
    closed_ = why.code();
  }
  /// Waits until there are `count` lines.
  std::vector<std::string> lines(size_t count) {
    MutexLock lock(mutex_);
    changed_.wait_for(mutex_, std::chrono::seconds(20), [&] { return lines_.size() >= count; });
    return lines_;
  }
  std::optional<Code> closed() {
    MutexLock lock(mutex_);
    return closed_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<std::string> lines_;
  std::optional<Code> closed_;
};

/// The next events; none within 20 s fails the test.
inline std::vector<EventRef> take(PullWatch& watch) {
  SystemClock clock;
  auto events = watch.take(clock, {}, clock.now() + 20s);
  if (!events.ok()) FAIL(events.error().message());
  REQUIRE_FALSE(events.value().empty());
  return std::move(events).value();
}

using Lines = std::vector<std::string>;

}  // namespace skiff::store::test
