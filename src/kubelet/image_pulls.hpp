#pragma once
// Pulls under way: each image once for the same passwords, however many pods wait for it.

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "base/clock.hpp"
#include "base/mutex.hpp"
#include "image/pull.hpp"

namespace skiff::kubelet {

/// Any thread; a thread for each pull under way.
class ImagePulls {
 public:
  struct Outcome {
    Result<image::Pulled> pulled;
    Duration took{0};        // the pull itself
    Duration waited{0};      // since this pod asked
  };
  /// Told that what a pod waits for is over.
  using Wake = std::function<void(const std::string& pod_uid)>;

  ImagePulls(image::ContentStore& store, const image::RegistryConfig& config, Clock& clock, Wake wake)
      : store_(store), config_(config), clock_(clock), wake_(std::move(wake)) {}
  /// Ends the pulls that are under way and waits for that.
  ~ImagePulls();

  /// Begins a pull for a pod, or joins the one that another pod with the same credentials began: what a registry gives to
  /// one pod it need not give to another. Nothing while it is under way; then its outcome, once for each pod: a later call
  /// begins anew.
  std::optional<Outcome> pull(const std::string& pod_uid, const image::PullRequest& request);
  /// The pod is gone.
  void forget(const std::string& pod_uid);

 private:
  struct Running {
    std::map<std::string, TimePoint> asked;  // by pods that wait
    std::map<std::string, Outcome> outcomes; // for pods that have not taken theirs
    bool over = false;
    std::jthread thread;
  };
  void run(const std::string& key, image::PullRequest request, const std::stop_token& stop);

  image::ContentStore& store_;
  const image::RegistryConfig& config_;
  Clock& clock_;
  const Wake wake_;
  Mutex mutex_;
  std::map<std::string, Running> pulls_ GUARDED_BY(mutex_);  // by name and credentials
};

}  // namespace skiff::kubelet
