#pragma once
// Keeps the packet rules of the nodes in step with Services, EndpointSlices and hostPorts: kube-proxy's
// place.

#include <map>
#include <set>
#include <string>

#include "api/gen/nodes.hpp"
#include "client/informer.hpp"
#include "proxy/change_counter.hpp"
#include "proxy/service_rules.hpp"

namespace skiff::proxy {

/// A burst of changes is one transaction a node, which holds only what changed. Construct before
/// Informers::start(), start() after.
class ServiceProxy {
 public:
  ServiceProxy(client::Informers& informers, Clock& clock);
  ~ServiceProxy() { stop(); }

  /// From now on the rules of node `name` are kept, one set a family; `rules` must live until remove_node() or
  /// stop(). Any thread.
  void add_node(const std::string& name, const std::vector<net::ServiceRules*>& rules);
  /// Returns when nobody uses the node's rules any more. They stay in the kernel.
  void remove_node(const std::string& name);

  void start();
  void stop();
  /// Returns when the rules follow all that the caches showed until now; false once `stop` is requested.
  bool wait_applied(std::stop_token stop) { return changes_.wait_done(std::move(stop)); }

 private:
  /// What changed since the rules were written.
  struct Dirty {
    std::set<client::ObjectKey> services, pods;
    bool empty() const { return services.empty() && pods.empty(); }
  };
  struct ProxiedNode {
    std::vector<net::ServiceRules*> rules;
    bool whole = true;  // all rules are to be written, not only those that changed
    std::string zone;   // as of the last time
  };

  void watch_changes();
  void mark_service(const client::ObjectKey& key);
  void run(std::stop_token stop);
  bool apply(const Dirty& dirty);
  Status apply_to(const std::string& name, ProxiedNode& node, const Dirty& dirty);
  net::RuleGroups groups_of(const Dirty& dirty, const NodePlace& place) const;
  Dirty everything() const;

  Clock& clock_;
  client::Informer<api::Service> services_;
  client::Informer<api::EndpointSlice> slices_;
  client::Informer<api::Pod> pods_;
  client::Informer<api::Node> nodes_informer_;
  ChangeCounter changes_;
  Mutex dirty_mutex_;
  Dirty dirty_ GUARDED_BY(dirty_mutex_);
  Mutex mutex_;  // held while rules are written, so that remove_node() can wait for it
  std::map<std::string, ProxiedNode> nodes_ GUARDED_BY(mutex_);
  Worker worker_;
};

}  // namespace skiff::proxy
