#include "client/controller.hpp"

#include <pthread.h>

#include "base/log.hpp"

namespace skiff::client {

void ControllerRunner::start(int workers) {
  for (int i = 0; i < workers; ++i)
    workers_.emplace_back([this](std::stop_token stop) {
      ::pthread_setname_np(::pthread_self(), reconciler_.name().substr(0, 15).c_str());
      run(stop);
    });
}

void ControllerRunner::stop() {
  for (std::jthread& worker : workers_) worker.request_stop();
  workers_.clear();
}

void ControllerRunner::run(std::stop_token stop) {
  while (std::optional<ObjectKey> key = queue_.take(stop)) {
    Result<Requeue> result = reconciler_.reconcile(*key);
    if (!result.ok()) {
      // A conflict only says that the cache was behind: the retry is the answer, not news.
      if (result.error().code() != Code::Conflict)
        log::warning(reconciler_.name(), "reconcile {}: {}", key->str(), result.error().message());
      queue_.retry(*key);
    } else {
      queue_.forget(*key);
      if (result.value().after) queue_.add_after(*key, *result.value().after);
    }
    queue_.done(*key);
  }
}

}  // namespace skiff::client
