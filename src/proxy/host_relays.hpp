#pragma once
// NodePorts and ports of load balancers on the host's own addresses.

#include <set>
#include <string>
#include <vector>

#include "api/gen/service.hpp"
#include "client/event_recorder.hpp"
#include "client/informer.hpp"
#include "net/relays.hpp"
#include "proxy/change_counter.hpp"

namespace skiff::proxy {

struct HostRelaysSpec {
  std::vector<net::Address> listen;  // addresses of the host: 127.0.0.1, and what the user exposes
  std::vector<net::Address> node;     // the addresses, one a family, of the node that the relays dial from
  std::vector<net::Cidr> balancers;   // where our load balancers have their addresses
};

struct HostRelay {
  net::RelaySpec relay;
  client::ObjectKey service;
  bool node_port = false;  // else a load balancer's
  bool operator==(const HostRelay&) const = default;
};

/// A port that an older Service has.
struct RelayConflict {
  HostRelay wanted;
  client::ObjectKey taken_by;
};

struct HostRelayPlan {
  std::vector<HostRelay> relays;
  std::vector<RelayConflict> conflicts;
};

/// The ports that the Services of a cluster want open. Who has one (`before`) keeps it, else the older
/// Service gets it. Pure.
HostRelayPlan plan_host_relays(std::vector<client::Ref<api::Service>> services, const HostRelaysSpec& spec,
                               const std::vector<HostRelay>& before = {});

/// Opens and closes relays as Services come and go. A port that somebody else has becomes an event on its
/// Service and is tried again every ten seconds. Construct before Informers::start(), start() after.
class HostRelays {
 public:
  struct Parts {
    client::Informers& informers;
    client::EventRecorder& events;
    Clock& clock;
    net::Relays& relays;
  };
  HostRelays(Parts parts, HostRelaysSpec spec);
  ~HostRelays() { stop(); }

  /// From now on relays dial from another node, whose addresses these are. Any thread.
  void set_node(std::vector<net::Address> addresses);

  void start();
  void stop();
  /// Returns when the ports follow all that the cache showed until now.
  bool wait_applied(std::stop_token stop) { return changes_.wait_done(std::move(stop)); }

 private:
  void run(std::stop_token stop);
  HostRelaysSpec spec();
  void report(const HostRelayPlan& plan, const std::vector<net::RelayFailure>& failures);
  void tell(const HostRelay& relay, const std::string& why);

  client::EventRecorder& events_;
  Clock& clock_;
  net::Relays& relays_;
  Mutex mutex_;
  HostRelaysSpec spec_ GUARDED_BY(mutex_);
  client::Informer<api::Service> services_;
  ChangeCounter changes_;
  using Reported = std::set<std::pair<net::RelaySpec, client::ObjectKey>>;
  Reported reported_, failing_;  // the thread's
  std::vector<HostRelay> open_;  // its too
  Worker worker_;
};

}  // namespace skiff::proxy
