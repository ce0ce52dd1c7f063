#pragma once
// The watches that clients have open, by what they watch.

#include <map>
#include <set>

#include "base/mutex.hpp"
#include "registry/registry.hpp"

namespace skiff::registry {

/// Any thread.
class RunningWatches {
 public:
  void add(const api::KindInfo& kind, EventSink& sink) {
    MutexLock lock(mutex_);
    if (retired_.contains(&kind)) sink.on_retired();
    else sinks_.emplace(&kind, &sink);
  }
  /// After return the sink is not called again.
  void remove(const api::KindInfo& kind, EventSink& sink) {
    MutexLock lock(mutex_);
    for (auto [at, end] = sinks_.equal_range(&kind); at != end; ++at) {
      if (at->second != &sink) continue;
      sinks_.erase(at);
      return;
    }
  }
  /// Tells those who watch `kind`, and who will.
  void retire(const api::KindInfo& kind) {
    MutexLock lock(mutex_);
    retired_.insert(&kind);
    auto [begin, end] = sinks_.equal_range(&kind);
    for (auto at = begin; at != end; ++at) at->second->on_retired();
    sinks_.erase(begin, end);
  }

 private:
  Mutex mutex_;
  std::multimap<const api::KindInfo*, EventSink*> sinks_ GUARDED_BY(mutex_);
  std::set<const api::KindInfo*> retired_ GUARDED_BY(mutex_);
};

}  // namespace skiff::registry
