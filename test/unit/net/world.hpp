#pragma once
// A small cluster of network namespaces that only the test knows: a host, nodes and pods, gone with their
// descriptors. Servers say who they are and who asked.

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <iostream>
#include <thread>

#include "net/dial.hpp"
#include "net/host_network.hpp"
#include "net/pod_network.hpp"
#include "net/sockets.hpp"
#include "sys/files.hpp"
#include "sys/namespaces.hpp"
#include "sys/netlink.hpp"

namespace skiff::net {

/// True (with a line that says so) where the machine cannot make namespaces.
inline bool skip_without_root() {
  if (::geteuid() == 0) return false;
  std::cout << "skipped: network namespaces need root\n";
  return true;
}

template <class T>
T checked(Result<T> result) {
  INFO((result.ok() ? "" : result.error().message()));
  REQUIRE(result.ok());
  return std::move(result).value();
}

inline Address ip(std::string_view text) { return parse_address(text).value(); }
inline Cidr cidr(std::string_view text) { return parse_cidr(text).value(); }

inline UniqueFd duplicate(const UniqueFd& fd) { return UniqueFd(::dup(fd.get())); }

inline UniqueFd new_network() {
  UniqueFd network = checked(sys::new_network_namespace());
  auto netlink = checked(sys::Netlink::open(network));
  checked(netlink->set_up(checked(netlink->link("lo")).index));
  return network;
}

/// Answers every TCP connection (and UDP packet) with "<name> <the client's address>" until destroyed.
class NamedServer {
 public:
  NamedServer(const UniqueFd& network, std::string name, std::uint16_t port,
              Protocol protocol = Protocol::Tcp, Family family = Family::V4)
      : name_(std::move(name)),
        protocol_(protocol),
        listener_(checked(sys::in_network(network,
                                          [&] {
                                            return open_listener(protocol, {Address::any(family), port});
                                          }))),
        wake_(checked(sys::make_pipe())),
        thread_([this] { run(); }) {}
  ~NamedServer() { wake_.write.reset(); }

 private:
  void run() {
    for (;;) {
      pollfd waiting[] = {{listener_.get(), POLLIN, 0}, {wake_.read.get(), POLLIN, 0}};
      ::poll(waiting, 2, -1);
      if (waiting[1].revents != 0) return;
      SocketAddress peer;
      char byte = 0;
      if (protocol_ == Protocol::Udp) {
        ::recvfrom(listener_.get(), &byte, 1, 0, peer.get(), &peer.size);
        std::string answer = name_ + " " + peer.endpoint().address.str();
        ::sendto(listener_.get(), answer.data(), answer.size(), 0, peer.get(), peer.size);
        continue;
      }
      UniqueFd client(::accept4(listener_.get(), peer.get(), &peer.size, SOCK_CLOEXEC));
      if (client) (void)sys::write_all(client, name_ + " " + peer.endpoint().address.str(), "client");
    }
  }

  const std::string name_;
  const Protocol protocol_;
  UniqueFd listener_;
  sys::Pipe wake_;
  std::jthread thread_;
};

/// What the server at `target` says to a client in `network`, or the error's text.
inline std::string ask(const UniqueFd& network, Endpoint target, Duration patience = 3s) {
  Result<UniqueFd> socket = dial_in(network, target, std::chrono::steady_clock::now() + patience);
  if (!socket.ok()) return socket.error().message();
  std::string answer;
  for (;;) {
    pollfd waiting{socket.value().get(), POLLIN, 0};
    if (::poll(&waiting, 1, 3000) <= 0) return "no answer";
    Result<std::string> some = sys::read_some(socket.value(), 4096, "server");
    if (!some.ok()) return some.error().message();
    if (some.value().empty()) return answer;
    answer += some.value();
  }
}

/// The same over UDP; asks again, for packets may be lost (a new address of IPv6 answers once the kernel's worker has
/// made its route, to sockets that were connected after that).
inline std::string ask_udp(const UniqueFd& network, Endpoint target) {
  for (int tries = 0; tries < 6; ++tries) {
    UniqueFd socket =
        checked(sys::in_network(network, [&] { return open_socket(Protocol::Udp, target.address.family); }));
    if (Status connected = connect_socket(socket, target); !connected.ok()) return connected.error().message();
    (void)sys::write_all(socket, "?", "server");
    pollfd waiting{socket.get(), POLLIN, 0};
    if (::poll(&waiting, 1, 500) <= 0) continue;
    Result<std::string> answer = sys::read_some(socket, 4096, "server");
    bool no_route_yet = !answer.ok() && answer.error().sys_errno() == EHOSTUNREACH && target.address.is_v6();
    if (!no_route_yet) return answer.ok() ? answer.value() : answer.error().message();
  }
  return "no answer";
}

inline ClusterRanges v4_ranges() { return {cidr("10.244.0.0/16"), cidr("10.96.0.0/12"), cidr("10.250.0.0/24")}; }
inline ClusterRanges v6_ranges() { return {cidr("fd00:244::/56"), cidr("fd00:96::/112"), cidr("fd00:250::/112")}; }

/// Host, two nodes and what connects them.
struct World {
  static constexpr int kNodes = 2;
  std::vector<ClusterRanges> families;
  ClusterRanges ranges;  // of the main family
  UniqueFd host = new_network();
  UniqueFd nodes[kNodes] = {new_network(), new_network()};
  std::unique_ptr<HostNetwork> host_network;
  std::unique_ptr<PodNetwork> pod_networks[kNodes];

  explicit World(std::vector<ClusterRanges> of = {v4_ranges()}) : families(std::move(of)), ranges(families.front()) {
    host_network = checked(HostNetwork::open(duplicate(host), {"test", families}));
    checked(host_network->ensure());
    for (int i = 0; i < kNodes; ++i) {
      std::vector<Cidr> pods;
      for (const ClusterRanges& family : families)
        pods.push_back(family.pods.part(static_cast<std::uint64_t>(i), family.pods.length + 8));
      checked(host_network->ensure_node({.index = i, .network = nodes[i], .pods = pods}));
      pod_networks[i] = checked(PodNetwork::open(nodes[i], {.pods = pods}));
    }
  }
};

/// A pod's namespace with an address on a node of a World.
struct TestPod {
  TestPod(World& world, int node, const std::string& name)
      : network(new_network()),
        addresses(checked(world.pod_networks[node]->attach(name, network))),
        address(addresses.front()) {}
  UniqueFd network;
  std::vector<Address> addresses;  // in the order of the World's families
  Address address;
};

}  // namespace skiff::net
