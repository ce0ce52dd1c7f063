#pragma once
// Keeps the packet rules of the nodes in step with Services, EndpointSlices and hostPorts: kube-proxy's
// place.

#include <map>
#include <string>
#include <thread>

#include "client/informer.hpp"
#include "proxy/change_counter.hpp"
#include "proxy/service_rules.hpp"

namespace skiff::proxy {

/// A burst of changes is one transaction a node. Construct before Informers::start(), start() after.
class ServiceProxy {
 public:
  ServiceProxy(client::Informers& informers, Clock& clock);
  ~ServiceProxy() { stop(); }

  /// From now on the rules of node `name` are kept; `rules` must live until remove_node() or stop(). Any
  /// thread.
  void add_node(const std::string& name, net::ServiceRules& rules);
  /// Returns when nobody uses the node's rules any more. They stay in the kernel.
  void remove_node(const std::string& name);

  void start();
  void stop();
  /// Returns when the rules follow all that the caches showed until now; false once `stop` is requested.
  bool wait_applied(std::stop_token stop) { return changes_.wait_done(std::move(stop)); }

 private:
  void run(std::stop_token stop);
  bool apply_all();

  Clock& clock_;
  client::Informer<api::Service> services_;
  client::Informer<api::EndpointSlice> slices_;
  client::Informer<api::Pod> pods_;
  ChangeCounter changes_;
  Mutex mutex_;  // held while rules are written, so that remove_node() can wait for it
  std::map<std::string, net::ServiceRules*> nodes_ GUARDED_BY(mutex_);
  std::jthread thread_;
};

}  // namespace skiff::proxy
