#include "kubelet/image_pulls.hpp"

#include <pthread.h>

#include <utility>

namespace skiff::kubelet {
namespace {

std::string key_of(const image::PullRequest& request) {
  std::string key = request.image.canonical();
  for (const image::Credentials& credentials : request.credentials) key += " " + credentials.secret + image::hash_of(credentials);
  return key;
}

}  // namespace

ImagePulls::~ImagePulls() {
  std::map<std::string, Running> ending;
  {
    MutexLock lock(mutex_);
    for (auto& [name, running] : pulls_) {
      running.thread.request_stop();
      ending[name].thread = std::move(running.thread);
    }
  }
  ending.clear();  // joins, without the lock that a pull takes at its end
}

std::optional<ImagePulls::Outcome> ImagePulls::pull(const std::string& pod_uid, const image::PullRequest& request) {
  const std::string key = key_of(request);
  std::jthread ended;  // joined after the lock is released
  MutexLock lock(mutex_);
  auto found = pulls_.find(key);
  if (found != pulls_.end()) {
    Running& running = found->second;
    if (auto outcome = running.outcomes.find(pod_uid); outcome != running.outcomes.end()) {
      Outcome taken = std::move(outcome->second);
      running.outcomes.erase(outcome);
      if (running.outcomes.empty()) {
        ended = std::move(running.thread);
        pulls_.erase(found);
      }
      return taken;
    }
    if (!running.over) {
      running.asked.emplace(pod_uid, clock_.now());
      return std::nullopt;
    }
    ended = std::move(running.thread);  // its outcomes were for others, who never came
  }
  Running& running = pulls_[key] = Running();
  running.asked.emplace(pod_uid, clock_.now());
  running.thread = std::jthread([this, key, request](const std::stop_token& stop) {
    ::pthread_setname_np(::pthread_self(), "image-pull");
    run(key, request, stop);
  });
  return std::nullopt;
}

void ImagePulls::run(const std::string& key, image::PullRequest request, const std::stop_token& stop) {
  TimePoint begun = clock_.now();
  Result<image::Pulled> pulled = image::pull(store_, request, config_, clock_, stop);
  std::map<std::string, TimePoint> asked;
  {
    MutexLock lock(mutex_);
    auto found = pulls_.find(key);
    if (found == pulls_.end() || stop.stop_requested()) return;
    Running& running = found->second;
    running.over = true;
    asked = std::exchange(running.asked, {});
    for (const auto& [uid, since] : asked)
      running.outcomes.emplace(uid, Outcome{pulled, clock_.now() - begun, clock_.now() - since});
  }
  for (const auto& [uid, since] : asked) wake_(uid);
}

void ImagePulls::forget(const std::string& pod_uid) {
  MutexLock lock(mutex_);
  for (auto& [name, running] : pulls_) {
    running.asked.erase(pod_uid);
    running.outcomes.erase(pod_uid);
  }
}

}  // namespace skiff::kubelet
