#pragma once
// A revisioned key space on SQLite: compare-and-swap writes, snapshots, lists at older revisions, watches.
// How it is built, and its threads: README.md.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/error.hpp"
#include "base/mutex.hpp"
#include "store/record.hpp"
#include "store/watch.hpp"

namespace skiff::store {

class Disk;
class Hub;
class Index;
struct PendingWrite;

struct Options {
  std::string path = ":memory:";     // a file (its directory exists), or ":memory:"
  size_t history_bytes = 64U << 20;  // superseded versions kept on disk
  size_t recent_events = 10'000;     // events kept in memory, from which most watches resume
  size_t recent_bytes = 8U << 20;    // ... and the sum of their values
};

struct ListOptions {
  size_t limit = 0;                           // 0: all
  std::string after_key;                      // continue behind this key
  std::optional<Revision> at_revision;        // the state at this revision instead of now
  std::function<bool(const Record&)> wanted;  // keeps the records it accepts; called on the caller's thread
};

struct Page {
  std::vector<RecordRef> items;     // in the order of their keys
  Revision revision = 0;            // of the snapshot: give it back to continue, or to watch from here
  bool more = false;                // continue behind items.back()->key
  std::optional<size_t> remaining;  // how many follow; unset when `wanted` was given
};

/// One database. Any thread may call any method. Reads see a snapshot in memory and never wait for the disk,
/// except lists and watches that go back further than the recent events.
class Store {
 public:
  /// Opens or creates. Unavailable: another process has it open. Invalid: it was written by a newer skiff.
  /// System or Internal: it cannot be read; the message names the file.
  static Result<std::unique_ptr<Store>> open(const Options& options);
  /// Commits what was queued, ends all watches and closes. No write may be under way.
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  /// NotFound: no live record.
  Result<RecordRef> get(std::string_view key) const;

  /// Live records whose key begins with `prefix`. Gone: `at_revision` is older than the last compaction.
  /// Timeout: `at_revision` has not happened yet. Memory-only versions are seen at an older revision only
  /// while it is among the recent events.
  Result<Page> list(std::string_view prefix, const ListOptions& options = {}) const;
  /// The number of live records whose key begins with `prefix`.
  size_t count(std::string_view prefix) const;

  /// Performs one operation and returns once its batch is on disk: the new record, or for Delete the last
  /// value with the revision of the deletion. A get() after it, by anyone, sees it. AlreadyExists, NotFound,
  /// Conflict (`expect` differs): nothing happened. Unavailable: the disk refused it (the message says why,
  /// for example "No space left on device"); nothing happened and the store goes on.
  Result<RecordRef> write(Write write);

  /// Hands every event after `after` whose key begins with `prefix` to `sink`, which must outlive the Watch;
  /// the past comes during this call. Gone: `after` is older than the history.
  Result<std::unique_ptr<Watch>> watch(std::string_view prefix, Revision after, WatchSink& sink);
  /// The same, buffering up to `limit` events for a reader with a thread of its own.
  Result<std::unique_ptr<PullWatch>> pull(std::string_view prefix, Revision after, size_t limit = 10'000);

  /// The last revision that readers see.
  Revision revision() const;
  /// Revisions before this one can no longer be listed or watched from (recent events excepted).
  Revision compacted() const;
  /// Forgets the history before `revision`; happens by itself within Options::history_bytes. Gone: it already
  /// is.
  Status compact(Revision revision);

 private:
  struct Snapshot {
    Revision revision = 0;
    std::shared_ptr<const Index> index;
  };

  Store(const Options& options, std::unique_ptr<Disk> disk);
  Snapshot snapshot() const;
  Result<Page> list_past(const Snapshot& now, std::string_view prefix, const ListOptions& options) const;
  void run(const std::stop_token& stop);
  void commit(const std::vector<std::shared_ptr<PendingWrite>>& writes);
  void refuse(const std::vector<std::shared_ptr<PendingWrite>>& writes, const Error& why);

  const Options options_;
  std::unique_ptr<Disk> disk_;  // own synchronisation
  std::shared_ptr<Hub> hub_;    // own synchronisation
  mutable Mutex snapshot_mutex_;
  Snapshot snapshot_ GUARDED_BY(snapshot_mutex_);
  Mutex queue_mutex_;
  CondVar queued_;
  std::vector<std::shared_ptr<PendingWrite>> queue_ GUARDED_BY(queue_mutex_);
  std::jthread writer_;
};

}  // namespace skiff::store
