#pragma once
// ConfigMap kube-system/kube-dns: whom the cluster's DNS server asks about other domains, in the words that
// Kubernetes' first DNS server took (stubDomains, upstreamNameservers).

#include <string>
#include <thread>

#include "api/gen/core.hpp"
#include "client/event_recorder.hpp"
#include "client/informer.hpp"
#include "net/dns_server.hpp"

namespace skiff::proxy {

/// {"acme.local": ["1.2.3.4", "1.2.3.4:5353"]} and ["8.8.8.8"]. Empty texts are no wishes. Invalid: says what
/// is not understood. Pure.
Result<net::DnsUpstreams> parse_dns_upstreams(const std::string& stub_domains,
                                              const std::string& name_servers);

/// Follows the ConfigMap: what cannot be read becomes an event, and leaves what was.
class DnsConfig {
 public:
  struct Parts {
    client::Client& client;
    Clock& clock;
    client::EventRecorder& events;
    net::DnsServer& server;
  };
  explicit DnsConfig(Parts parts);

  void start() { map_.start(); }
  void stop() { map_.stop(); }

 private:
  void take(const client::Ref<api::ConfigMap>& map);

  Parts parts_;
  client::AnyInformer map_;  // of this one
};

}  // namespace skiff::proxy
