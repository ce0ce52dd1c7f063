#pragma once
// Learns that a node has died by itself: its skiff-init was killed, or crashed.

#include <functional>
#include <map>
#include <string>
#include <thread>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/mutex.hpp"

namespace skiff::cluster {

/// Waits for the processes of nodes; wakes for nothing else. Any thread.
class DeathWatch {
 public:
  /// `died` is called on a thread of its own, once a node, and may call watch() and forget().
  static Result<std::unique_ptr<DeathWatch>> start(std::function<void(const std::string& node)> died);
  ~DeathWatch();

  /// `process` is a pidfd.
  void watch(const std::string& node, UniqueFd process);
  void forget(const std::string& node);

 private:
  DeathWatch(std::function<void(const std::string&)> died, UniqueFd changed)
      : died_(std::move(died)), changed_(std::move(changed)) {}
  void run(const std::stop_token& stop);
  std::string wait_for_death();
  void wake() const;

  const std::function<void(const std::string&)> died_;
  UniqueFd changed_;  // an eventfd
  Mutex mutex_;
  std::map<std::string, UniqueFd> processes_ GUARDED_BY(mutex_);
  std::jthread thread_;  // last
};

}  // namespace skiff::cluster
