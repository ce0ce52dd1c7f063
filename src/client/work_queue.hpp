#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <stop_token>

#include "base/backoff.hpp"
#include "base/clock.hpp"
#include "client/object.hpp"

namespace skiff::client {

/// client-go's rate-limited work queue: a key is queued once, never handled by two workers at once, and queued again
/// if it was added while being handled. Delays and per-key backoff (5 ms doubling to 1000 s) use the Clock handed
/// in. Any thread.
class WorkQueue {
 public:
  explicit WorkQueue(Clock& clock) : clock_(clock) {}

  void add(const ObjectKey& key);
  void add_after(const ObjectKey& key, Duration delay);
  /// Adds after the key's next backoff.
  void retry(const ObjectKey& key);
  /// Ends the key's backoff; call when handling succeeded.
  void forget(const ObjectKey& key);

  /// The next key, or nullopt once `stop` is requested. done() must follow.
  std::optional<ObjectKey> take(std::stop_token stop);
  void done(const ObjectKey& key);

  size_t size() const;

 private:
  void add_locked(const ObjectKey& key) REQUIRES(mutex_);
  TimePoint move_due_locked() REQUIRES(mutex_);  // returns when the next delayed key is due

  Clock& clock_;
  mutable Mutex mutex_;
  CondVar changed_;
  std::deque<ObjectKey> ready_ GUARDED_BY(mutex_);
  std::set<ObjectKey> dirty_ GUARDED_BY(mutex_);        // wanted: in ready_, or waiting for processing to end
  std::set<ObjectKey> processing_ GUARDED_BY(mutex_);
  std::map<ObjectKey, TimePoint> delayed_ GUARDED_BY(mutex_);
  std::map<ObjectKey, Backoff> backoffs_ GUARDED_BY(mutex_);
};

}  // namespace skiff::client
