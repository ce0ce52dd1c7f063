#include "store/disk.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace skiff::store {

namespace {

constexpr std::int64_t kApplicationId = 0x736b6966;  // "skif"
constexpr std::int64_t kFormat = 1;
// One durable write a so many memory-only ones; what a crash may skip of the counter.
constexpr Revision kReservation = 10'000;
constexpr int kTrimRows = 2'000;  // dropped at most in one batch: a write never waits for a long clean-up
constexpr std::int64_t kRowCost = 64;  // what a history row takes beside its key and value

// `record` is ordered by creation and `history` by supersession, so that both grow at their ends. Keys need
// no index: the latest state is in memory and knows `created`.
constexpr const char* kSchema = R"sql(
  CREATE TABLE record (
    created INTEGER PRIMARY KEY, modified INTEGER NOT NULL,
    revision_at INTEGER, key BLOB NOT NULL, value BLOB NOT NULL);
  CREATE TABLE history (
    until INTEGER PRIMARY KEY,      -- the revision that superseded or deleted this version
    created INTEGER NOT NULL, modified INTEGER NOT NULL,
    deleted INTEGER NOT NULL,       -- 1: `until` deleted the key
    total INTEGER NOT NULL,         -- bytes ever moved here, this row included
    revision_at INTEGER, key BLOB NOT NULL, value BLOB NOT NULL);
  CREATE TABLE counter (name BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE memory_directory (name BLOB PRIMARY KEY) WITHOUT ROWID;
)sql";

constexpr const char* kCompacted = "SELECT number FROM counter WHERE name = CAST('compacted' AS BLOB)";
constexpr const char* kReserved = "SELECT number FROM counter WHERE name = CAST('reserved' AS BLOB)";

// Keeps a second process from the file; SQLite alone would let it in.
Result<UniqueFd> lock_file(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return errno_error(errno, "open '{}'", path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return errno_error(errno, "flock '{}'", path);
    char holder[32] = {};
    ssize_t size = ::pread(fd.get(), holder, sizeof holder - 1, 0);
    std::string_view pid(holder, size > 0 ? static_cast<size_t>(size) : 0);
    return error(Code::Unavailable, "in use by another process (pid {})", pid.empty() ? "unknown" : pid);
  }
  std::string pid = fmt::format("{}", ::getpid());
  if (::ftruncate(fd.get(), 0) != 0 || ::pwrite(fd.get(), pid.data(), pid.size(), 0) < 0) {
    // The number only serves the message above; a full disk must not keep the store from opening.
  }
  return fd;
}

// Values are Secrets too: the file is its owner's. SQLite gives its side files the same mode.
Status create_private(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return errno_error(errno, "open '{}'", path);
  return ok();
}

RecordRef record_from(const Statement& row, int first) {
  auto record = std::make_shared<Record>();
  record->created = row.integer(first);
  record->modified = row.integer(first + 1);
  record->revision_at = row.optional(first + 2);
  record->key = row.bytes(first + 3);
  record->value = row.bytes(first + 4);
  return record;
}

Result<std::vector<Superseded>> read_history(Database& database, std::string_view prefix, Revision since) {
  TRY(database.execute("BEGIN"));  // one snapshot for the bound and the rows
  auto read = [&]() -> Result<std::vector<Superseded>> {
    TRY_ASSIGN(Revision compacted, database.number(kCompacted));
    if (since < compacted)
      return error(Code::Gone, "revision {} has been compacted: the oldest is {}", since, compacted);
    TRY_ASSIGN(Statement rows,
               database.prepare("SELECT until, deleted, created, modified, revision_at, key, value "
                                "FROM history WHERE until > ?1 AND substr(key, 1, ?2) = ?3"));
    rows.bind(1, since).bind(2, static_cast<std::int64_t>(prefix.size())).bind(3, prefix);
    std::vector<Superseded> found;
    while (true) {
      TRY_ASSIGN(bool more, rows.step());
      if (!more) return found;
      found.push_back({record_from(rows, 2), rows.integer(0), rows.integer(1) != 0});
    }
  };
  auto found = read();
  TRY(database.execute("COMMIT"));
  return found;
}

bool in_memory(const std::string& path) { return path == ":memory:"; }

}  // namespace

struct Disk::Statements {
  Statement insert_record, update_record, delete_record, insert_history, set_counter, add_directory;

  static Result<std::unique_ptr<Statements>> prepare(Database& database) {
    TRY_ASSIGN(Statement insert_record,
               database.prepare(
                   "INSERT INTO record (created, modified, revision_at, key, value) VALUES (?,?,?,?,?)"));
    TRY_ASSIGN(
        Statement update_record,
        database.prepare("UPDATE record SET modified = ?2, revision_at = ?3, value = ?4 WHERE created = ?1"));
    TRY_ASSIGN(Statement delete_record, database.prepare("DELETE FROM record WHERE created = ?"));
    TRY_ASSIGN(Statement insert_history,
               database.prepare(
                   "INSERT INTO history (until, created, modified, deleted, total, revision_at, key, value) "
                   "VALUES (?,?,?,?,?,?,?,?)"));
    TRY_ASSIGN(Statement set_counter,
               database.prepare("INSERT OR REPLACE INTO counter (name, number) VALUES (?,?)"));
    TRY_ASSIGN(Statement add_directory,
               database.prepare("INSERT OR IGNORE INTO memory_directory (name) VALUES (?)"));
    return std::unique_ptr<Statements>(new Statements{std::move(insert_record), std::move(update_record),
                                                      std::move(delete_record), std::move(insert_history),
                                                      std::move(set_counter), std::move(add_directory)});
  }
};

Disk::Disk(std::unique_ptr<Database> database, UniqueFd lock, size_t history_bytes)
    : path_(database->path()),
      history_bytes_(history_bytes),
      lock_(std::move(lock)),
      database_(std::move(database)) {}

Disk::~Disk() = default;

Result<std::unique_ptr<Disk>> Disk::open(const std::string& path, size_t history_bytes) {
  auto opened = [&]() -> Result<std::unique_ptr<Disk>> {
    UniqueFd lock;
    if (!in_memory(path)) {
      TRY_ASSIGN(lock, lock_file(path + ".lock"));
      TRY(create_private(path));
    }
    TRY_ASSIGN(std::unique_ptr<Database> database, Database::open(path, false));
    std::unique_ptr<Disk> disk(new Disk(std::move(database), std::move(lock), history_bytes));
    MutexLock locked(disk->mutex_);
    TRY(disk->prepare());
    TRY(disk->read_bounds());
    return disk;
  }();
  if (!opened.ok() && !opened.error().message().starts_with("store '"))
    return std::move(opened).error().in(fmt::format("store '{}'", path));
  return opened;
}

Status Disk::prepare() {
  TRY_ASSIGN(std::int64_t format, database_->number("PRAGMA user_version"));
  TRY_ASSIGN(std::int64_t application, database_->number("PRAGMA application_id"));
  TRY_ASSIGN(std::int64_t tables, database_->number("SELECT count(*) FROM sqlite_master"));
  if (tables > 0 && application != kApplicationId)
    return error(Code::Invalid, "store '{}' is a database of another program", database_->path());
  if (format > kFormat)
    return error(
        Code::Invalid,
        "store '{}' has format {}, but this skiff knows formats up to {}: it was written by a newer skiff; "
        "use that one",
        database_->path(), format, kFormat);
  TRY(database_->execute(
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;"
      "PRAGMA journal_size_limit = 33554432; PRAGMA temp_store = MEMORY"));
  if (tables == 0) {
    TRY_ASSIGN(Transaction transaction, Transaction::begin(*database_));
    TRY(database_->execute(kSchema));
    TRY(database_->execute(
        fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kApplicationId, kFormat)
            .c_str()));
    TRY(transaction.commit());
  }
  TRY_ASSIGN(statements_, Statements::prepare(*database_));
  return ok();
}

Status Disk::read_bounds() {
  TRY_ASSIGN(bounds_.compacted, database_->number(kCompacted));
  TRY_ASSIGN(bounds_.reserved, database_->number(kReserved));
  TRY_ASSIGN(bounds_.history_end, database_->number("SELECT total FROM history ORDER BY until DESC LIMIT 1"));
  TRY_ASSIGN(bounds_.history_begin,
             database_->number("SELECT total - length(key) - length(value) FROM history "
                               "ORDER BY until LIMIT 1"));
  compacted_ = bounds_.compacted;
  return ok();
}

Result<Disk::Content> Disk::load() {
  MutexLock lock(mutex_);
  TRY_ASSIGN(Statement directories, database_->prepare("SELECT name FROM memory_directory"));
  while (true) {
    TRY_ASSIGN(bool more, directories.step());
    if (!more) break;
    memory_directories_.emplace(directories.bytes(0));
  }
  Content content;
  TRY_ASSIGN(Revision ended, database_->number("SELECT until FROM history ORDER BY until DESC LIMIT 1"));
  content.revision = std::max({ended, bounds_.compacted, bounds_.reserved});
  TRY_ASSIGN(Statement rows,
             database_->prepare("SELECT created, modified, revision_at, key, value FROM record"));
  while (true) {
    TRY_ASSIGN(bool more, rows.step());
    if (!more) break;
    content.records.push_back(record_from(rows, 0));
    content.revision = std::max(content.revision, content.records.back()->modified);
  }
  std::sort(content.records.begin(), content.records.end(),
            [](const RecordRef& a, const RecordRef& b) { return a->key < b->key; });
  return content;
}

std::set<std::string, std::less<>> Disk::memory_directories() const {
  MutexLock lock(mutex_);
  return memory_directories_;
}

Status Disk::commit(const DiskBatch& batch) {
  MutexLock lock(mutex_);
  bool new_directory = !std::includes(memory_directories_.begin(), memory_directories_.end(),
                                      batch.memory_directories.begin(), batch.memory_directories.end());
  bool beyond_reservation = batch.memory_only && batch.last > bounds_.reserved;
  if (batch.changes.empty() && !new_directory && !beyond_reservation) return ok();

  Bounds bounds = bounds_;
  TRY_ASSIGN(Transaction transaction, Transaction::begin(*database_));
  for (const DiskBatch::Change& change : batch.changes) TRY(write(change, bounds));
  if (new_directory || beyond_reservation) TRY(reserve(batch, bounds));
  TRY(trim(bounds));
  TRY(transaction.commit());
  bounds_ = bounds;
  compacted_ = bounds.compacted;
  memory_directories_.insert(batch.memory_directories.begin(), batch.memory_directories.end());
  return ok();
}

Status Disk::write(const DiskBatch::Change& change, Bounds& bounds) {
  if (change.before) TRY(supersede(change, bounds));
  if (!change.after) return statements_->delete_record.bind(1, change.before->created).run();
  const Record& after = *change.after;
  if (change.before) {
    Statement& update = statements_->update_record;
    update.bind(1, after.created).bind(2, after.modified).bind(3, after.revision_at).bind(4, after.value);
    return update.run();
  }
  Statement& insert = statements_->insert_record;
  insert.bind(1, after.created).bind(2, after.modified).bind(3, after.revision_at);
  return insert.bind(4, after.key).bind(5, after.value).run();
}

Status Disk::supersede(const DiskBatch::Change& change, Bounds& bounds) {
  const Record& before = *change.before;
  bounds.history_end += static_cast<std::int64_t>(before.key.size() + before.value.size()) + kRowCost;
  Statement& insert = statements_->insert_history;
  insert.bind(1, change.revision).bind(2, before.created).bind(3, before.modified);
  insert.bind(4, std::int64_t{change.after ? 0 : 1}).bind(5, bounds.history_end);
  return insert.bind(6, before.revision_at).bind(7, before.key).bind(8, before.value).run();
}

// Before memory-only revisions are given out, the disk knows of them: a crash must not give them out again.
Status Disk::reserve(const DiskBatch& batch, Bounds& bounds) {
  for (const std::string& directory : batch.memory_directories)
    TRY(statements_->add_directory.bind(1, std::string_view(directory)).run());
  if (batch.last <= bounds.reserved) return ok();
  bounds.reserved = batch.last + kReservation;
  return remember("reserved", bounds.reserved);
}

Status Disk::trim(Bounds& bounds) {
  auto budget = static_cast<std::int64_t>(history_bytes_);
  if (bounds.history_end - bounds.history_begin <= budget) return ok();
  // Down to three quarters, so that this happens now and then and not with every write.
  std::int64_t wanted_begin = bounds.history_end - budget / 4 * 3;
  TRY_ASSIGN(Statement rows, database_->prepare("SELECT until, total FROM history ORDER BY until LIMIT ?"));
  rows.bind(1, std::int64_t{kTrimRows});
  Revision last = 0;
  std::int64_t begin = bounds.history_begin;
  while (begin < wanted_begin) {
    TRY_ASSIGN(bool more, rows.step());
    if (!more) break;
    last = rows.integer(0);
    begin = rows.integer(1);
  }
  rows.reset();
  if (last == 0) return ok();
  bounds.history_begin = begin;
  return drop_until(last, bounds);
}

Status Disk::drop_until(Revision revision, Bounds& bounds) {
  TRY_ASSIGN(Statement drop, database_->prepare("DELETE FROM history WHERE until <= ?"));
  TRY(drop.bind(1, revision).run());
  bounds.compacted = revision;
  return remember("compacted", revision);
}

Status Disk::remember(std::string_view name, Revision number) {
  return statements_->set_counter.bind(1, name).bind(2, number).run();
}

Result<std::vector<Superseded>> Disk::superseded_since(std::string_view prefix, Revision revision) {
  if (in_memory(path_)) {
    MutexLock lock(mutex_);
    return read_history(*database_, prefix, revision);
  }
  MutexLock lock(reader_mutex_);
  if (!reader_) {
    TRY_ASSIGN(reader_, Database::open(path_, true));
  }
  return read_history(*reader_, prefix, revision);
}

Status Disk::compact(Revision revision) {
  MutexLock lock(mutex_);
  if (revision < bounds_.compacted)
    return error(Code::Gone, "revision {} has been compacted: the oldest is {}", revision, bounds_.compacted);
  Bounds bounds = bounds_;
  TRY_ASSIGN(Transaction transaction, Transaction::begin(*database_));
  TRY(drop_until(revision, bounds));
  TRY_ASSIGN(bounds.history_begin,
             database_->number("SELECT total - length(key) - length(value) FROM history "
                               "ORDER BY until LIMIT 1"));
  if (bounds.history_begin == 0) bounds.history_begin = bounds.history_end;
  TRY(transaction.commit());
  bounds_ = bounds;
  compacted_ = bounds.compacted;
  return ok();
}

Status Disk::close(Revision last) {
  MutexLock lock(mutex_);
  if (bounds_.reserved <= last) return ok();
  TRY_ASSIGN(Transaction transaction, Transaction::begin(*database_));
  TRY(remember("reserved", last));
  TRY(transaction.commit());
  bounds_.reserved = last;
  return ok();
}

}  // namespace skiff::store
