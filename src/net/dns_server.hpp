#pragma once
// The cluster's DNS server: one thread that listens in every node, answers the cluster's names from memory
// and forwards the rest.

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/event_loop.hpp"
#include "base/fd.hpp"
#include "net/dns_forwarder.hpp"
#include "net/dns_message.hpp"

namespace skiff::net {

/// The names that are answered here. Called on the server's thread, for every query: must be quick.
class DnsZones {
 public:
  virtual ~DnsZones() = default;
  /// nullopt: not one of ours, ask the resolvers.
  virtual std::optional<DnsAnswer> answer(const std::string& name, DnsType type) const = 0;
};

struct DnsServerSpec {
  std::vector<Address> addresses;  // the DNS service's ClusterIPs
  std::uint16_t port = 53;
  std::string resolv_conf = "/etc/resolv.conf";
};

/// Any thread.
class DnsServer {
 public:
  /// `upstream` is the namespace the resolvers are reached from (the host's); `zones` outlives the server.
  static Result<std::unique_ptr<DnsServer>> start(const UniqueFd& upstream, DnsServerSpec spec,
                                                  const DnsZones& zones);
  /// Answers no more; what waits for a resolver is dropped.
  ~DnsServer();

  /// Gives the node the service's addresses (on its loopback) and listens there, UDP and TCP, and on those of
  /// the node's `own`. Idempotent per id.
  Status add_node(const std::string& id, const UniqueFd& node, const std::vector<Address>& own = {});
  /// Stops listening; a node that was not added is fine.
  void remove_node(const std::string& id);
  /// The addresses of a name as a pod would find them, without search paths; none: it has none, or nobody answers in
  /// time. Waits.
  std::vector<Address> lookup(const std::string& name, Duration patience = 5s);
  /// Who is asked about names that are not ours, once this returns.
  void set_upstreams(DnsUpstreams upstreams);

 private:
  class Serving;
  DnsServer(DnsServerSpec spec, std::unique_ptr<EventLoop> loop, const DnsZones& zones);

  const DnsServerSpec spec_;
  std::unique_ptr<EventLoop> loop_;
  std::shared_ptr<Serving> serving_;  // what lives on the loop's thread
  Mutex mutex_;
  std::set<std::string> nodes_ GUARDED_BY(mutex_);
  std::jthread thread_;
};

}  // namespace skiff::net
