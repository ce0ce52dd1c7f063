#include "kubelet/node_room.hpp"

namespace skiff::kubelet {

Amounts amounts_of(const api::ResourceList& resources) {
  Amounts amounts;
  for (const auto& [name, quantity] : resources) amounts[name] = name == "cpu" ? quantity.milli() : quantity.value();
  return amounts;
}

Amounts reservation(const api::Pod& pod) {
  Amounts amounts = amounts_of(api::pod_requests(pod));
  // Resources of others (example.com/dongle) are theirs to count.
  std::erase_if(amounts, [](const auto& entry) { return entry.first.find('/') != std::string::npos; });
  amounts["pods"] = 1;
  return amounts;
}

std::optional<Shortage> NodeRoom::take(const std::string& pod_uid, const Amounts& wanted) {
  MutexLock lock(mutex_);
  for (const auto& [name, amount] : wanted) {
    auto limit = capacity_.find(name);
    std::int64_t capacity = limit == capacity_.end() ? 0 : limit->second, used = 0;
    if (amount == 0) continue;
    for (const auto& [uid, held] : held_)
      if (auto part = held.find(name); uid != pod_uid && part != held.end()) used += part->second;
    if (used + amount > capacity) return Shortage{name, amount, used, capacity, amount > capacity};
  }
  held_[pod_uid] = wanted;
  return std::nullopt;
}

void NodeRoom::hold(const std::string& pod_uid, const Amounts& amounts) {
  MutexLock lock(mutex_);
  held_[pod_uid] = amounts;
}

void NodeRoom::release(const std::string& pod_uid) {
  MutexLock lock(mutex_);
  held_.erase(pod_uid);
}

}  // namespace skiff::kubelet
