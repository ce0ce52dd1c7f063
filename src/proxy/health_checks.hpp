#pragma once
// Health-check node ports: where load balancers learn which nodes have endpoints of a Service.

#include <map>
#include <string>

#include "client/informer.hpp"
#include "proxy/change_counter.hpp"
#include "proxy/http_front.hpp"
#include "proxy/service_rules.hpp"

namespace skiff::proxy {

/// One Service's answer on one node: 200 with endpoints there, else 503, and how many there are.
net::HttpAnswer health_answer(const client::ObjectKey& service, size_t endpoints);

/// Construct before Informers::start(), start() after.
class HealthChecks {
 public:
  HealthChecks(client::Informers& informers, Clock& clock, HttpFront& front);
  ~HealthChecks() { stop(); }

  /// `name` is the Node's, and its network's at the HttpProxy. Any thread.
  void add_node(const std::string& name, std::vector<net::Address> addresses);
  void remove_node(const std::string& name);

  void start();
  void stop();

 private:
  void run(std::stop_token stop);
  bool settle();

  Clock& clock_;
  HttpFront& front_;
  client::Informer<api::Service> services_;
  client::Informer<api::EndpointSlice> slices_;
  ChangeCounter changes_;
  Mutex mutex_;
  std::map<std::string, std::vector<net::Address>> nodes_ GUARDED_BY(mutex_);
  Worker worker_;
};

}  // namespace skiff::proxy
