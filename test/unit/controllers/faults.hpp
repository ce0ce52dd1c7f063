#pragma once
// What the fault tests share: how many seeds they play, and a watcher of what must hold at every single change.

#include <cstdlib>

#include "support.hpp"

namespace skiff::test {

/// SKIFF_FAULT_SEEDS, or few.
inline int fault_seeds() {
  const char* wish = std::getenv("SKIFF_FAULT_SEEDS");
  return wish ? std::atoi(wish) : 8;
}

/// Checks all pods at every change of them, as the store has it; check() says what is wrong, or nothing.
class PodWatcher {
 public:
  using Pods = std::map<std::string, client::Ref<api::Pod>>;
  template <class Time>
  PodWatcher(TestCluster<Time>& cluster, std::function<std::string(const Pods&)> check) : check_(std::move(check)) {
    informer_ = std::make_unique<client::AnyInformer>(cluster.client, cluster.clock, api::kind_of<api::Pod>());
    informer_->on_change([this](const client::AnyRef& before, const client::AnyRef& now) {
      MutexLock lock(mutex_);
      if (now) pods_[now.metadata().name] = now.as<api::Pod>();
      else pods_.erase(before.metadata().name);
      if (!on_) return;
      if (std::string problem = check_(pods_); !problem.empty()) problems_.push_back(std::move(problem));
    });
    informer_->start();
    REQUIRE(informer_->wait_synced({}));
  }
  ~PodWatcher() { informer_->stop(); }
  void begin() {
    MutexLock lock(mutex_);
    on_ = true;
  }
  std::vector<std::string> problems() {
    MutexLock lock(mutex_);
    return problems_;
  }

 private:
  std::function<std::string(const Pods&)> check_;
  Mutex mutex_;
  Pods pods_;
  bool on_ = false;
  std::vector<std::string> problems_;
  std::unique_ptr<client::AnyInformer> informer_;
};

}  // namespace skiff::test
