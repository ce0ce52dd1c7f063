#pragma once
// What the store keeps and says: versions of keys, the events between them, and the operations that make
// them. Bytes only; what they mean is the registry's business.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace skiff::store {

/// One monotonic counter for the whole store; every operation takes the next number. Never reused, also not
/// after a crash. 0 is "before everything".
using Revision = std::int64_t;

struct Record;
using RecordRef = std::shared_ptr<const Record>;

/// One version of one key. Immutable and shared by readers, watchers and the API's caches.
struct Record {
  Record() = default;
  Record(const Record&) = delete;
  Record& operator=(const Record&) = delete;

  std::string key;
  std::string value;                  // serialised once, with the revision spliced in
  Revision created = 0;               // the revision that made the key
  Revision modified = 0;              // the revision that made this version
  std::optional<size_t> revision_at;  // where in `value` the decimal `modified` stands
  bool durable = true;                // false: this version was never on disk
  RecordRef stored;  // for a version that is not: the durable one that returns after a restart, or null

  /// An immutable interpretation of `value` that somebody made (the registry's typed object), while anybody uses it; else
  /// null. Any thread, never blocks for long.
  std::shared_ptr<const void> view() const;
  /// Keeps `view` unless there is one already; returns the one that stays. Any thread, never blocks for long.
  std::shared_ptr<const void> set_view(std::shared_ptr<const void> view) const;

 private:
  mutable std::atomic_flag view_busy_;  // guards view_ for the moment of a copy
  mutable std::weak_ptr<const void> view_;
};

/// `record` as of `revision`: its value carries that revision instead of its own, all else is the same.
std::shared_ptr<Record> restamped(const Record& record, Revision revision);

/// What one operation did. Built once and shared by all watches.
struct Event {
  enum class Type : std::uint8_t { Put, Delete };
  Type type = Type::Put;
  Revision revision = 0;
  RecordRef record;  // the new version; for Delete the last value with `revision` spliced in as its revision
  RecordRef previous;  // the version it replaced; null on create
};
using EventRef = std::shared_ptr<const Event>;

/// One operation.
struct Write {
  enum class Kind : std::uint8_t { Create, Update, Delete };
  Kind kind = Kind::Create;
  std::string key;
  std::string value;                  // not for Delete
  std::optional<size_t> revision_at;  // byte offset in `value` where the decimal revision is inserted
  std::optional<Revision> expect;     // compare-and-swap on `modified`; not for Create
  /// false: memory only (leases, heartbeats of in-process nodes). Such a version is gone after a restart,
  /// when the last durable version of the key, if any, returns.
  bool durable = true;
  /// Builds the new record's view, given its revision; it lives at least until all watches have had the event. Optional;
  /// called at most once, on the writer thread, before anyone sees the record: it must be quick, must not block and must
  /// not call the store.
  std::function<std::shared_ptr<const void>(Revision)> view;
};

}  // namespace skiff::store
