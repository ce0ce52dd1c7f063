#pragma once
// The store's tables. `record` holds the last durable version of every key, `history` the versions they
// superseded, in the order in which that happened, within a byte budget.

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/mutex.hpp"
#include "store/database.hpp"
#include "store/record.hpp"

namespace skiff::store {

/// A version and when it ended.
struct Superseded {
  RecordRef record;
  Revision until = 0;  // the revision of its successor or of its deletion
  bool deleted = false;
};

/// What a batch asks of the disk.
struct DiskBatch {
  struct Change {
    RecordRef before;  // the row to move into history; null on create
    RecordRef after;   // the new row; null on delete
    Revision revision = 0;
  };
  std::vector<Change> changes;
  Revision last = 0;         // the last revision of the batch, memory-only operations included
  bool memory_only = false;  // the batch has such operations
  std::set<std::string, std::less<>> memory_directories;  // of their keys
};

/// Any thread; one call at a time uses a connection.
class Disk {
 public:
  static Result<std::unique_ptr<Disk>> open(const std::string& path, size_t history_bytes);
  ~Disk();

  struct Content {
    std::vector<RecordRef> records;  // sorted by key
    Revision revision = 0;           // at or above every revision ever given out
  };
  Result<Content> load();
  /// The directories (keys up to their last '/') in which there ever were memory-only versions.
  std::set<std::string, std::less<>> memory_directories() const;

  /// Performs the batch in one transaction, synced; or nothing of it. Writes nothing when nothing must be
  /// kept.
  Status commit(const DiskBatch& batch);

  /// The versions of keys beginning with `prefix` that ended after `revision`. Gone: compacted.
  Result<std::vector<Superseded>> superseded_since(std::string_view prefix, Revision revision);

  Revision compacted() const { return compacted_.load(); }
  Status compact(Revision revision);

  /// So that the next load() continues exactly behind `last`.
  Status close(Revision last);

 private:
  struct Statements;
  struct Bounds {
    Revision reserved = 0;           // on disk: memory-only revisions up to here may have been used
    Revision compacted = 0;          // the last end of a dropped version
    std::int64_t history_begin = 0;  // bytes ever dropped from history
    std::int64_t history_end = 0;    // bytes ever moved to history
  };

  Disk(std::unique_ptr<Database> database, UniqueFd lock, size_t history_bytes);
  Status prepare() REQUIRES(mutex_);
  Status read_bounds() REQUIRES(mutex_);
  Status write(const DiskBatch::Change& change, Bounds& bounds) REQUIRES(mutex_);
  Status supersede(const DiskBatch::Change& change, Bounds& bounds) REQUIRES(mutex_);
  Status reserve(const DiskBatch& batch, Bounds& bounds) REQUIRES(mutex_);
  Status trim(Bounds& bounds) REQUIRES(mutex_);
  Status drop_until(Revision revision, Bounds& bounds) REQUIRES(mutex_);
  Status remember(std::string_view name, Revision number) REQUIRES(mutex_);

  const std::string path_;
  const size_t history_bytes_;
  UniqueFd lock_;        // flock: one process at a time
  mutable Mutex mutex_;  // the writing connection
  std::unique_ptr<Database> database_ GUARDED_BY(mutex_);
  std::unique_ptr<Statements> statements_ GUARDED_BY(mutex_);
  std::set<std::string, std::less<>> memory_directories_ GUARDED_BY(mutex_);
  Bounds bounds_ GUARDED_BY(mutex_);
  std::atomic<Revision> compacted_ = 0;  // bounds_.compacted for readers
  Mutex reader_mutex_;                   // the reading connection, opened when first needed
  std::unique_ptr<Database> reader_ GUARDED_BY(reader_mutex_);
};

}  // namespace skiff::store
