#pragma once
// The watches that clients have open, by what they watch.

#include <set>
#include <utility>

#include "base/mutex.hpp"
#include "registry/registry.hpp"

namespace skiff::registry {

/// Any thread.
class RunningWatches {
 public:
  void add(const api::KindInfo& kind, EventSink& sink) {
    MutexLock lock(mutex_);
    if (retired_.contains(&kind)) sink.on_retired();
    else sinks_.insert({&kind, &sink});
  }
  /// After return the sink is not called again.
  void remove(const api::KindInfo& kind, EventSink& sink) {
    MutexLock lock(mutex_);
    sinks_.erase(std::pair(&kind, &sink));
  }
  /// Tells those who watch `kind`, and who will.
  void retire(const api::KindInfo& kind) {
    MutexLock lock(mutex_);
    retired_.insert(&kind);
    auto begin = sinks_.lower_bound(Watched{&kind, nullptr}), end = begin;
    for (; end != sinks_.end() && end->first == &kind; ++end) end->second->on_retired();
    sinks_.erase(begin, end);
  }

 private:
  using Watched = std::pair<const api::KindInfo*, EventSink*>;
  Mutex mutex_;
  std::set<Watched> sinks_ GUARDED_BY(mutex_);
  std::set<const api::KindInfo*> retired_ GUARDED_BY(mutex_);
};

}  // namespace skiff::registry
