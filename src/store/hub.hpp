#pragma once
// The recent events, and who watches what.

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.hpp"
#include "base/mutex.hpp"
#include "store/record.hpp"
#include "store/watch.hpp"

namespace skiff::store {

/// One watch. Events go into its outbox while they are published and to its sink after that.
struct Subscription {
  Subscription(std::string_view watched, Revision from, WatchSink& receiver)
      : prefix(watched), after(from), sink(receiver) {}

  const std::string prefix;
  const Revision after;
  WatchSink& sink;
  Mutex mutex;                                // held while the sink is called with live events
  bool catching_up GUARDED_BY(mutex) = true;  // the past is being delivered: live events wait in `pending`
  bool overflowed GUARDED_BY(mutex) = false;  // too many of them did
  bool closed GUARDED_BY(mutex) = false;
  std::vector<EventRef> pending GUARDED_BY(mutex);
  std::vector<EventRef> outbox;  // the writer thread's
};

/// Any thread, except publish() and deliver(): the writer's. Lock order: hub, then a subscription.
class Hub {
 public:
  struct Limits {
    size_t events;
    size_t bytes;
  };
  /// `memory_directories`: whose memory-only versions may have been lost before `start`.
  Hub(Limits limits, Revision start, const std::set<std::string, std::less<>>& memory_directories);

  /// Makes `events` recent, calls `make_visible` and notes who is to get them, in one step: a new watch or
  /// list sees all of it or nothing.
  void publish(std::span<const EventRef> events, const std::function<void()>& make_visible);
  /// Hands what was published to the sinks.
  void deliver();

  struct Start {
    std::shared_ptr<Subscription> subscription;
    std::vector<EventRef> recent;  // of the prefix, behind both `after` and `floor`
    Revision floor = 0;            // every event behind it is recent; the earlier ones are the history's
  };
  /// Live events wait until catch_up(). Gone: memory-only events behind `after` are lost.
  Result<Start> subscribe(std::string_view prefix, Revision after, WatchSink& sink);
  /// Hands over the past, in order, and then lets live events through. Gone: too many came meanwhile.
  Status catch_up(Subscription& subscription, std::span<const EventRef> past);
  /// After return the sink is not called again.
  void unsubscribe(const std::shared_ptr<Subscription>& subscription);
  Revision progress(Subscription& subscription) const;

  /// The events behind `revision` whose key begins with `prefix`; nothing when some are no longer recent.
  std::optional<std::vector<EventRef>> recent_since(std::string_view prefix, Revision revision) const;

  /// Ends every watch. Nothing may be published after.
  void close(const Error& why);

 private:
  using Subscribers = std::unordered_map<std::string_view, std::vector<std::shared_ptr<Subscription>>>;

  void address(const EventRef& event) REQUIRES(mutex_);
  void forget_oldest() REQUIRES(mutex_);
  std::vector<EventRef> matching(std::string_view prefix, Revision after) const REQUIRES(mutex_);
  bool lost_memory_events(std::string_view prefix, Revision after) const REQUIRES(mutex_);

  const Limits limits_;
  std::atomic<Revision> delivered_;
  std::vector<std::shared_ptr<Subscription>>
      addressed_;           // the writer thread's: who has something in the outbox
  Revision published_ = 0;  // the writer thread's
  mutable Mutex mutex_;
  std::deque<EventRef> recent_ GUARDED_BY(mutex_);
  size_t recent_bytes_ GUARDED_BY(mutex_) = 0;
  Revision floor_ GUARDED_BY(mutex_);  // the last event that is no longer recent
  /// By the length of the prefix, then by the prefix: an event looks up each length that is in use, so its
  /// cost does not depend on the number of watches that it does not concern.
  std::map<size_t, Subscribers> subscribers_ GUARDED_BY(mutex_);
  /// The last memory-only event of each directory that is no longer recent: no watch can resume before it.
  std::map<std::string, Revision, std::less<>> memory_lost_ GUARDED_BY(mutex_);
};

/// `key` up to its last '/', included.
std::string_view directory_of(std::string_view key);

}  // namespace skiff::store
