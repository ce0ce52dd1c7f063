#pragma once
// NodePorts on the host's own addresses.

#include <set>
#include <string>
#include <thread>
#include <vector>

#include "api/gen/service.hpp"
#include "client/event_recorder.hpp"
#include "client/informer.hpp"
#include "net/relays.hpp"
#include "proxy/change_counter.hpp"

namespace skiff::proxy {

struct NodePortRelaysSpec {
  std::vector<net::Ipv4> listen;  // addresses of the host: 127.0.0.1, and what the user exposes
  net::Ipv4 node;                 // the address of the node that the relays dial from
};

/// The ports that the Services of a cluster want open. Pure.
std::vector<net::RelaySpec> node_port_relays(const std::vector<client::Ref<api::Service>>& services,
                                             const NodePortRelaysSpec& spec);

/// Opens and closes relays as Services come and go. A port that somebody else has becomes an event on its
/// Service and is tried again every ten seconds. Construct before Informers::start(), start() after.
class NodePortRelays {
 public:
  struct Parts {
    client::Informers& informers;
    client::EventRecorder& events;
    Clock& clock;
    net::Relays& relays;
  };
  NodePortRelays(Parts parts, NodePortRelaysSpec spec);
  ~NodePortRelays() { stop(); }

  void start();
  void stop();
  /// Returns when the ports follow all that the cache showed until now.
  bool wait_applied(std::stop_token stop) { return changes_.wait_done(std::move(stop)); }

 private:
  void run(std::stop_token stop);
  void report(const std::vector<client::Ref<api::Service>>& services,
              const std::vector<net::RelayFailure>& failures);

  client::EventRecorder& events_;
  Clock& clock_;
  net::Relays& relays_;
  const NodePortRelaysSpec spec_;
  client::Informer<api::Service> services_;
  ChangeCounter changes_;
  std::set<net::RelaySpec> reported_;  // the thread's
  std::jthread thread_;
};

}  // namespace skiff::proxy
