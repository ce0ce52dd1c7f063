#pragma once

#include <deque>
#include <optional>
#include <stop_token>

#include "base/mutex.hpp"
#include "registry/registry.hpp"

namespace skiff::apiserver {

/// Takes a watch's events from the store's writer thread and hands them on from another that may block, because each
/// must be converted by a webhook. A reader that falls far behind loses its watch.
class EventQueue final : public registry::EventSink {
 public:
  void on_event(const registry::ObjectEvent& event) override;
  void on_closed(const Error& why) override;
  void on_retired() override;
  /// The reader has left: run() returns.
  void end();
  /// Until the watch is over, end() or `stop`.
  void run(registry::EventSink& to, std::stop_token stop);

 private:
  Mutex mutex_;
  CondVar changed_;
  std::deque<registry::ObjectEvent> waiting_ GUARDED_BY(mutex_);
  std::optional<Error> closed_ GUARDED_BY(mutex_);
  bool retired_ GUARDED_BY(mutex_) = false;
  bool ended_ GUARDED_BY(mutex_) = false;
};

}  // namespace skiff::apiserver
