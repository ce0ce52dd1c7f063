#include "proxy/network_policies.hpp"

#include "api/pods.hpp"
#include "base/log.hpp"

namespace skiff::proxy {
namespace {

using client::Ref;

constexpr Duration kRetry = 1s;
constexpr Duration kAdmission = 5s;

/// Whether policies see no difference.
bool same_to_policies(const Ref<api::Pod>& a, const Ref<api::Pod>& b) {
  return a && b && a->metadata.uid == b->metadata.uid && a->metadata.labels == b->metadata.labels &&
         a->spec.nodeName == b->spec.nodeName && a->status.podIPs == b->status.podIPs &&
         api::is_finished(*a) == api::is_finished(*b);
}

}  // namespace

NetworkPolicies::NetworkPolicies(client::Informers& informers, Clock& clock, std::vector<PolicyPod> services)
    : clock_(clock),
      services_(std::move(services)),
      policies_(informers.of<api::NetworkPolicy>()),
      pods_(informers.of<api::Pod>()),
      namespaces_(informers.of<api::Namespace>()),
      changes_(clock) {
  watch_changes();
}

void NetworkPolicies::watch_changes() {
  policies_.on_change([this](const auto& before, const auto& now) {
    if (!before || !now || !(before->spec == now->spec)) changes_.changed();
  });
  pods_.on_change([this](const auto& before, const auto& now) {
    if (!same_to_policies(before, now) && !policies_.list().empty()) changes_.changed();
  });
  namespaces_.on_change([this](const auto& before, const auto& now) {
    bool same = before && now && before->metadata.labels == now->metadata.labels;
    if (!same && !policies_.list().empty()) changes_.changed();
  });
}

void NetworkPolicies::add_node(const std::string& name, const std::vector<net::PolicyRules*>& rules) {
  {
    MutexLock lock(mutex_);
    nodes_[name] = rules;
  }
  changes_.changed();
}

void NetworkPolicies::remove_node(const std::string& name) {
  MutexLock lock(mutex_);
  nodes_.erase(name);
}

Status NetworkPolicies::admit(const std::string& uid, const std::vector<net::Address>& addresses) {
  if (!policies_.wait_synced(stopping_.get_token())) return Error(Code::Canceled, "the cluster is stopping");
  if (policies_.list().empty()) return ok();
  {
    MutexLock lock(known_mutex_);
    known_[uid] = addresses;
    in_force_.erase(uid);
  }
  changes_.changed();
  TimePoint deadline = clock_.now() + kAdmission;
  MutexLock lock(known_mutex_);
  while (!in_force_.contains(uid)) {
    if (stopping_.stop_requested()) return Error(Code::Canceled, "the cluster is stopping");
    if (clock_.now() >= deadline)
      return error(Code::Timeout, "network policies for {} are not in force",
                   addresses.empty() ? "nobody" : addresses.front().str());
    clock_.wait(known_mutex_, in_force_changed_, stopping_.get_token(), deadline);
  }
  return ok();
}

void NetworkPolicies::forget(const std::string& uid) {
  MutexLock lock(known_mutex_);
  known_.erase(uid);
  in_force_.erase(uid);
}

void NetworkPolicies::start() {
  worker_.start("net-policies", [this](std::stop_token stop) { run(std::move(stop)); });
}

void NetworkPolicies::stop() {
  stopping_.request_stop();
  worker_.stop();
}

void NetworkPolicies::run(std::stop_token stop) {
  // Rules of half a cluster would cut off pods that may talk.
  bool synced = policies_.wait_synced(stop) && pods_.wait_synced(stop) && namespaces_.wait_synced(stop);
  if (!synced) return;
  while (std::uint64_t change = changes_.wait_change(stop, TimePoint::max())) {
    if (settle())
      changes_.done(change);
    else
      clock_.wait_for(stop, kRetry);
  }
}

bool NetworkPolicies::settle() {
  std::set<std::string> seen;
  PolicyView now = view(seen);
  bool all = true;
  {
    MutexLock lock(mutex_);
    for (auto& [name, families] : nodes_)
      for (net::PolicyRules* rules : families) {
        Status applied = rules->apply(node_policies(now, name, rules->family()));
        if (!applied.ok()) log::warning("network-policies", "{}: {}", name, applied.error().message());
        all = all && applied.ok();
      }
  }
  if (!all) return false;
  MutexLock lock(known_mutex_);
  for (const std::string& uid : seen)
    if (known_.contains(uid)) in_force_.insert(uid);
  in_force_changed_.notify_all();
  return true;
}

PolicyView NetworkPolicies::view(std::set<std::string>& seen) {
  std::map<std::string, std::vector<net::Address>> known;
  {
    MutexLock lock(known_mutex_);
    known = known_;
  }
  PolicyView view{policies_.list(), services_, {}};
  if (view.policies.empty() && known.empty()) return view;
  for (const Ref<api::Namespace>& one : namespaces_.list())
    view.namespaces[one->metadata.name] = one->metadata.labels;
  for (const Ref<api::Pod>& pod : pods_.list()) {
    auto address = known.find(pod->metadata.uid);
    std::optional<PolicyPod> made =
        policy_pod(*pod, address == known.end() ? std::vector<net::Address>() : address->second);
    if (made) view.pods.push_back(std::move(*made));
    if (address != known.end()) seen.insert(address->first);
  }
  return view;
}

}  // namespace skiff::proxy
