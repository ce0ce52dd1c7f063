#pragma once
// Watching a prefix: pushed to a sink, or pulled from a bounded buffer.

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/mutex.hpp"
#include "store/record.hpp"

namespace skiff::store {

class Hub;
struct Subscription;

/// Receives the events of one watch. Calls never overlap and come from the thread that calls Store::watch
/// (the past) or the store's writer thread (from then on). They must not block, must not call Store::write
/// and must not destroy the Watch; everything behind one sink waits for it.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  /// The next events in revision order, without gaps or duplicates; never empty.
  virtual void on_events(std::span<const EventRef> events) = 0;
  /// The store closes: Code::Unavailable. At most once, and the last call.
  virtual void on_closed(const Error& why) = 0;
};

/// A running watch. Destroying it waits for a call of the sink that is under way; none follows. It may
/// outlive its Store. Any thread.
class Watch {
 public:
  Watch(std::shared_ptr<Hub> hub, std::shared_ptr<Subscription> subscription);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  /// Every event of this watch up to this revision has been handed to the sink: what a bookmark may say.
  Revision progress() const;

 private:
  std::shared_ptr<Hub> hub_;
  std::shared_ptr<Subscription> subscription_;
};

/// A sink that keeps up to `limit` events until they are taken. When more come, it drops all and the watch is
/// over with Code::Gone: the reader lists again, and the store never waits for it.
class EventBuffer final : public WatchSink {
 public:
  explicit EventBuffer(size_t limit) : limit_(limit) {}

  void on_events(std::span<const EventRef> events) override;
  void on_closed(const Error& why) override;

  /// Waits for events and takes all there are. Empty at `deadline`. Canceled: `stop` was requested. Gone: the
  /// buffer overflowed. Unavailable: the store closed (after the last events were taken). One thread at a
  /// time.
  Result<std::vector<EventRef>> take(Clock& clock, std::stop_token stop,
                                     TimePoint deadline = TimePoint::max());

 private:
  const size_t limit_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<EventRef> events_ GUARDED_BY(mutex_);
  std::optional<Error> over_ GUARDED_BY(mutex_);
};

/// A watch that is read by a thread of its own.
class PullWatch {
 public:
  PullWatch(std::unique_ptr<EventBuffer> buffer, std::unique_ptr<Watch> watch)
      : buffer_(std::move(buffer)), watch_(std::move(watch)) {}

  /// As EventBuffer::take.
  Result<std::vector<EventRef>> take(Clock& clock, std::stop_token stop,
                                     TimePoint deadline = TimePoint::max()) {
    return buffer_->take(clock, std::move(stop), deadline);
  }
  /// As Watch::progress; events up to it may still wait in the buffer.
  Revision progress() const { return watch_->progress(); }

 private:
  std::unique_ptr<EventBuffer> buffer_;
  std::unique_ptr<Watch> watch_;  // last: goes first, so that nobody calls a dead buffer
};

}  // namespace skiff::store
