#pragma once
// Word of every object, for those who need to know that it is there or went, but not what it says.

#include <functional>
#include <thread>
#include <vector>

#include "base/mutex.hpp"
#include "client/client.hpp"

namespace skiff::client {

/// Tells its handlers of all objects of some kinds (by default of all kinds, custom ones included) and keeps none of
/// them: a hundred thousand objects cost nothing, where informers would hold each. One thread.
class MetadataFeed {
 public:
  using Handler = std::function<void(const MetadataEvent&)>;

  MetadataFeed(Client& client, Clock& clock, std::vector<const api::KindInfo*> kinds = {});
  ~MetadataFeed();

  /// Before start(). Called on the feed's thread, one after another; must not block. Each object that is there when the
  /// feed starts is Added; after a gap (see below) those that are there then are Added again.
  void on_change(Handler handler) { handlers_.push_back(std::move(handler)); }
  /// Before start(). Called when the feed fell behind and has told of all that is there now: what went in between was not
  /// reported.
  void on_gap(std::function<void()> handler) { gap_handlers_.push_back(std::move(handler)); }

  void start();
  void stop();
  /// Waits until all that was there has been told; false once `stop` is requested.
  bool wait_synced(std::stop_token stop);

 private:
  void run(std::stop_token stop);
  Status follow(std::stop_token stop);
  void tell(const MetadataEvent& event);
  void listed();

  Client& client_;
  Clock& clock_;
  const std::vector<const api::KindInfo*> kinds_;
  std::vector<Handler> handlers_;                      // constant once started
  std::vector<std::function<void()>> gap_handlers_;    // constant once started

  Mutex mutex_;
  CondVar synced_changed_;
  bool synced_ GUARDED_BY(mutex_) = false;
  std::jthread thread_;  // last: joined before the rest goes
};

}  // namespace skiff::client
