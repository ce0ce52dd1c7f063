#include "cluster/death_watch.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <vector>

#include "sys/files.hpp"

namespace skiff::cluster {

Result<std::unique_ptr<DeathWatch>> DeathWatch::start(std::function<void(const std::string&)> died) {
  UniqueFd changed(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!changed) return errno_error(errno, "eventfd");
  std::unique_ptr<DeathWatch> watch(new DeathWatch(std::move(died), std::move(changed)));
  watch->thread_ = std::jthread([self = watch.get()](const std::stop_token& stop) { self->run(stop); });
  return watch;
}

DeathWatch::~DeathWatch() {
  thread_.request_stop();
  wake();
}

void DeathWatch::wake() const {
  std::uint64_t one = 1;
  // A counter that is full wakes as well.
  static_cast<void>(sys::retry_eintr([&] { return ::write(changed_.get(), &one, sizeof one); }));
}

void DeathWatch::watch(const std::string& node, UniqueFd process) {
  MutexLock lock(mutex_);
  processes_[node] = std::move(process);
  wake();
}

void DeathWatch::forget(const std::string& node) {
  MutexLock lock(mutex_);
  processes_.erase(node);
  wake();
}

// The node that died, or "" when there is something new to wait for. The descriptors are copies: forget() may close the others.
std::string DeathWatch::wait_for_death() {
  std::vector<std::string> names;
  std::vector<UniqueFd> copies;
  std::vector<pollfd> waiting = {{changed_.get(), POLLIN, 0}};
  {
    MutexLock lock(mutex_);
    for (const auto& [name, process] : processes_) {
      Result<UniqueFd> copy = sys::duplicate(process);
      if (!copy.ok()) continue;  // out of descriptors: then this one is not watched until the next change
      waiting.push_back({copy.value().get(), POLLIN, 0});
      copies.push_back(std::move(copy).value());
      names.push_back(name);
    }
  }
  if (sys::retry_eintr([&] { return ::poll(waiting.data(), waiting.size(), -1); }) < 0) return "";
  std::uint64_t count = 0;
  static_cast<void>(::read(changed_.get(), &count, sizeof count));  // nothing to read is fine
  for (size_t i = 0; i < names.size(); ++i) {
    if (waiting[i + 1].revents == 0) continue;
    MutexLock lock(mutex_);
    if (processes_.erase(names[i]) > 0) return names[i];
  }
  return "";
}

void DeathWatch::run(const std::stop_token& stop) {
  ::pthread_setname_np(::pthread_self(), "node-deaths");
  while (!stop.stop_requested())
    if (std::string node = wait_for_death(); !node.empty() && !stop.stop_requested()) died_(node);
}

}  // namespace skiff::cluster
