#pragma once
// Keeps the nodes' packet rules in step with NetworkPolicies, and holds back pods until theirs are in force.

#include <map>
#include <set>
#include <string>
#include <vector>

#include "client/informer.hpp"
#include "proxy/change_counter.hpp"
#include "proxy/policies.hpp"

namespace skiff::proxy {

/// Construct before Informers::start(), start() after.
class NetworkPolicies {
 public:
  /// `services` are what stands for pods that a cluster has elsewhere: DNS.
  NetworkPolicies(client::Informers& informers, Clock& clock, std::vector<PolicyPod> services);
  ~NetworkPolicies() { stop(); }

  /// From now on the rules of node `name` are kept, one set a family; `rules` must live until remove_node() or stop(). Any
  /// thread.
  void add_node(const std::string& name, const std::vector<net::PolicyRules*>& rules);
  /// Returns when nobody uses the node's rules any more. They stay in the kernel.
  void remove_node(const std::string& name);

  /// Returns when a new pod's policies are in force, before its first packet. Quick where there are no
  /// policies. Timeout: they could not be applied, or the pod is not known. Any thread.
  Status admit(const std::string& uid, const std::vector<net::Address>& addresses);
  /// The pod has its addresses no more.
  void forget(const std::string& uid);

  void start();
  void stop();
  bool wait_applied(std::stop_token stop) { return changes_.wait_done(std::move(stop)); }

 private:
  void watch_changes();
  void run(std::stop_token stop);
  bool settle();
  PolicyView view(std::set<std::string>& seen);

  Clock& clock_;
  const std::vector<PolicyPod> services_;
  client::Informer<api::NetworkPolicy> policies_;
  client::Informer<api::Pod> pods_;
  client::Informer<api::Namespace> namespaces_;
  ChangeCounter changes_;
  std::stop_source stopping_;
  Mutex known_mutex_;
  CondVar in_force_changed_;
  std::map<std::string, std::vector<net::Address>> known_
      GUARDED_BY(known_mutex_);                              // addresses that no status says yet, by UID
  std::set<std::string> in_force_ GUARDED_BY(known_mutex_);  // those of `known_` that rules are for
  Mutex mutex_;  // held while rules are written, so that remove_node() can wait for it
  std::map<std::string, std::vector<net::PolicyRules*>> nodes_ GUARDED_BY(mutex_);
  Worker worker_;
};

}  // namespace skiff::proxy
