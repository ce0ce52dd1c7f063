#include "store/store.hpp"

#include <algorithm>
#include <utility>

#include "base/log.hpp"
#include "store/batch.hpp"
#include "store/disk.hpp"
#include "store/hub.hpp"
#include "store/index.hpp"
#include "store/past.hpp"

namespace skiff::store {

namespace {

// A batch is one transaction and one step for readers: its size bounds what the first write in it waits for.
constexpr size_t kBatchWrites = 1'024;

// Fills a page from `next`, which gives records in order and null at the end. `left` counts what it will
// give.
Page fill_page(const ListOptions& options, size_t left, const std::function<const RecordRef*()>& next) {
  Page page;
  if (!options.wanted) page.items.reserve(options.limit == 0 ? left : std::min(left, options.limit));
  while (const RecordRef* record = next()) {
    if (options.wanted && !options.wanted(**record)) continue;
    if (options.limit != 0 && page.items.size() == options.limit) {
      page.more = true;
      break;
    }
    page.items.push_back(*record);
  }
  if (!options.wanted) page.remaining = left - page.items.size();
  return page;
}

}  // namespace

Store::Store(const Options& options, std::unique_ptr<Disk> disk)
    : options_(options), disk_(std::move(disk)) {}

Result<std::unique_ptr<Store>> Store::open(const Options& options) {
  TRY_ASSIGN(std::unique_ptr<Disk> disk, Disk::open(options.path, options.history_bytes));
  TRY_ASSIGN(Disk::Content content, disk->load());
  std::unique_ptr<Store> store(new Store(options, std::move(disk)));
  store->hub_ = std::make_shared<Hub>(Hub::Limits{options.recent_events, options.recent_bytes},
                                      content.revision, store->disk_->memory_directories());
  {
    MutexLock lock(store->snapshot_mutex_);
    store->snapshot_ = {content.revision, Index::of(content.records)};
  }
  store->writer_ = std::jthread([raw = store.get()](const std::stop_token& stop) { raw->run(stop); });
  return store;
}

Store::~Store() {
  writer_.request_stop();
  if (writer_.joinable()) writer_.join();
  if (!hub_) return;  // open() failed half-way
  hub_->close(error(Code::Unavailable, "the store is closing"));
  if (Status closed = disk_->close(revision()); !closed.ok())
    log::warning("store", "close: {}", closed.error().message());  // only skips some revision numbers
}

Store::Snapshot Store::snapshot() const {
  MutexLock lock(snapshot_mutex_);
  return snapshot_;
}

Revision Store::revision() const {
  MutexLock lock(snapshot_mutex_);
  return snapshot_.revision;
}

Revision Store::compacted() const { return disk_->compacted(); }

Status Store::compact(Revision revision) { return disk_->compact(std::min(revision, this->revision())); }

Result<RecordRef> Store::get(std::string_view key) const {
  RecordRef record = snapshot().index->find(key);
  if (!record) return error(Code::NotFound, "key '{}' not found", key);
  return record;
}

size_t Store::count(std::string_view prefix) const {
  Snapshot now = snapshot();
  return now.index->distance(now.index->lower_bound(prefix), now.index->end_of(prefix));
}

Result<Page> Store::list(std::string_view prefix, const ListOptions& options) const {
  Snapshot now = snapshot();
  if (options.at_revision && *options.at_revision != now.revision) return list_past(now, prefix, options);
  const Index& index = *now.index;
  Index::Position at = index.lower_bound(std::max<std::string_view>(prefix, options.after_key));
  const Index::Position end = std::max(at, index.end_of(prefix));
  if (at != end && index.at(at)->key == options.after_key) at = index.next(at);
  Page page = fill_page(options, index.distance(at, end), [&]() -> const RecordRef* {
    return at < end ? &index.at(std::exchange(at, index.next(at))) : nullptr;
  });
  page.revision = now.revision;
  return page;
}

Result<Page> Store::list_past(const Snapshot& now, std::string_view prefix,
                              const ListOptions& options) const {
  const Revision revision = *options.at_revision;
  if (revision > now.revision)
    return error(Code::Timeout, "Timeout: Too large resource version: {}, current: {}", revision, now.revision);
  Overlay overlay;
  std::vector<EventRef> events;
  std::vector<Superseded> superseded;
  if (auto recent = hub_->recent_since(prefix, revision)) {
    events = std::move(*recent);
    overlay = undo(events, revision);
  } else {
    TRY_ASSIGN(superseded, disk_->superseded_since(prefix, revision));
    overlay = still_alive(superseded, revision);
  }
  std::vector<RecordRef> records = state_at(*now.index, prefix, revision, overlay);
  auto at = std::upper_bound(records.begin(), records.end(), std::string_view(options.after_key),
                             [](std::string_view key, const RecordRef& record) { return key < record->key; });
  if (options.after_key.empty()) at = records.begin();
  Page page = fill_page(options, static_cast<size_t>(records.end() - at),
                        [&]() -> const RecordRef* { return at != records.end() ? &*at++ : nullptr; });
  page.revision = revision;
  return page;
}

Result<RecordRef> Store::write(Write write) {
  auto pending = std::make_shared<PendingWrite>(std::move(write));
  {
    MutexLock lock(queue_mutex_);
    queue_.push_back(pending);
  }
  queued_.notify_one();
  pending->done.acquire();
  return std::move(*pending->result);
}

Result<std::unique_ptr<Watch>> Store::watch(std::string_view prefix, Revision after, WatchSink& sink) {
  TRY_ASSIGN(Hub::Start start, hub_->subscribe(prefix, after, sink));
  auto watch = std::make_unique<Watch>(hub_, start.subscription);  // unsubscribes when what follows fails
  std::vector<EventRef> past;
  if (after < start.floor) {
    // The snapshot first: what it no longer shows is in the history by then.
    Snapshot now = snapshot();
    TRY_ASSIGN(std::vector<Superseded> superseded, disk_->superseded_since(prefix, after));
    past = past_events(*now.index, prefix, superseded, {after, start.floor});
  }
  past.insert(past.end(), start.recent.begin(), start.recent.end());
  TRY(hub_->catch_up(*start.subscription, past));
  return watch;
}

Result<std::unique_ptr<PullWatch>> Store::pull(std::string_view prefix, Revision after, size_t limit) {
  auto buffer = std::make_unique<EventBuffer>(limit);
  TRY_ASSIGN(std::unique_ptr<Watch> running, watch(prefix, after, *buffer));
  return std::make_unique<PullWatch>(std::move(buffer), std::move(running));
}

// While one batch commits, the next one gathers: the more writers, the larger the batches.
void Store::run(const std::stop_token& stop) {
  while (true) {
    std::vector<std::shared_ptr<PendingWrite>> writes;
    {
      MutexLock lock(queue_mutex_);
      queued_.wait(queue_mutex_, stop, [this]() REQUIRES(queue_mutex_) { return !queue_.empty(); });
      if (queue_.empty()) return;  // stopped
      size_t taken = std::min(queue_.size(), kBatchWrites);
      auto end = queue_.begin() + static_cast<std::ptrdiff_t>(taken);
      writes.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(end));
      queue_.erase(queue_.begin(), end);
    }
    commit(writes);
  }
}

void Store::commit(const std::vector<std::shared_ptr<PendingWrite>>& writes) {
  const Snapshot before = snapshot();
  Batch batch(*before.index, before.revision);
  for (const auto& pending : writes) batch.add(*pending);
  if (Status stored = disk_->commit(batch.disk); !stored.ok()) {
    refuse(writes, stored.error());
    return;
  }
  batch.build_views();
  if (!batch.events.empty()) {
    Snapshot next{batch.disk.last, before.index->with(batch.changes)};
    hub_->publish(batch.events, [&] {
      MutexLock lock(snapshot_mutex_);
      std::swap(snapshot_, next);
    });
  }
  for (const auto& pending : writes) pending->done.release();
  hub_->deliver();
}

// The disk refused the batch: its durable writes fail; the others are decided again as if those had never
// come.
void Store::refuse(const std::vector<std::shared_ptr<PendingWrite>>& writes, const Error& why) {
  auto is_durable = [](const auto& pending) {
    return pending->result->ok() && pending->result->value()->durable;
  };
  // Without a durable write it was the reservation of revisions that failed: then all need the disk.
  bool some_durable = std::any_of(writes.begin(), writes.end(), is_durable);
  std::vector<std::shared_ptr<PendingWrite>> again;
  for (const auto& pending : writes) {
    if (some_durable && !is_durable(pending)) {
      again.push_back(pending);
      continue;
    }
    if (pending->result->ok()) pending->result = why;
    pending->done.release();
  }
  if (!again.empty()) commit(again);
}

}  // namespace skiff::store
