#pragma once
// Ports of the host that lead into the cluster: connections are taken where the listener was opened (the
// host's loopback) and made again from inside a node, by one thread, without a packet crossing. Which node it is can
// change at any time.

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/event_loop.hpp"
#include "base/fd.hpp"
#include "net/address.hpp"

namespace skiff::net {

struct RelaySpec {
  Protocol protocol = Protocol::Tcp;  // or Udp
  Endpoint listen;                    // on the host
  Endpoint target;                    // in the node
  std::vector<Cidr> sources;          // clients that are let in; none: all
  auto operator<=>(const RelaySpec&) const = default;
};

struct RelayFailure {
  RelaySpec relay;
  Error error;  // System with EADDRINUSE: the port is taken
};

/// Any thread.
class Relays {
 public:
  static Result<std::unique_ptr<Relays>> start(UniqueFd host, UniqueFd node);
  ~Relays();

  /// Makes the open ports be `wanted`; returns those that could not be opened, which are tried again by the
  /// next call. A port whose target or clients change stays open. Connections through a port that is closed go on.
  std::vector<RelayFailure> set(const std::vector<RelaySpec>& wanted);
  /// From now on targets are dialled from `node`. Connections that stand go on while the old node does.
  Status move_to(UniqueFd node);

 private:
  class Serving;
  Relays(UniqueFd host, std::unique_ptr<EventLoop> loop);

  const UniqueFd host_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Serving> serving_;  // what lives on the loop's thread
  std::jthread thread_;
};

}  // namespace skiff::net
