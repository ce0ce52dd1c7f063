#include "sys/nftables.hpp"
#include "world.hpp"

namespace skiff::net {
namespace {

std::vector<std::string> link_names(const UniqueFd& network) {
  std::vector<std::string> names;
  for (const sys::Link& link : checked(checked(sys::Netlink::open(network))->links()))
    names.push_back(link.name);
  return names;
}

TEST_CASE("pods, nodes and the host reach each other by the pods' own addresses") {
  if (skip_without_root()) return;
  World world;
  TestPod a(world, 0, "pod-a"), b(world, 0, "pod-b"), far(world, 1, "pod-far");
  NamedServer server_a(a.network, "a", 80), server_far(far.network, "far", 80);
  NamedServer server_host(world.host, "host", 8080);
  CHECK(a.address.str() == "10.244.0.2");
  CHECK(far.address.str() == "10.244.1.2");

  CHECK(ask(b.network, {a.address, 80}) == "a 10.244.0.3");
  CHECK(ask(far.network, {a.address, 80}) == "a 10.244.1.2");
  CHECK(ask(a.network, {far.address, 80}) == "far 10.244.0.2");
  CHECK(ask(a.network, {a.address, 80}) == "a 10.244.0.2");
  CHECK(ask(world.host, {a.address, 80}) == "a 10.250.0.1");
  CHECK(ask(world.host, {far.address, 80}) == "far 10.250.0.1");
  CHECK(ask(world.nodes[0], {a.address, 80}) == "a 10.244.0.1");
  CHECK(ask(world.nodes[0], {far.address, 80}) == "far 10.250.0.2");
  CHECK(ask(a.network, {world.host_network->host_addresses()[0], 8080}) == "host 10.244.0.2");
}

/// One family, the other, or both in either order.
std::vector<ClusterRanges> some_families(int which) {
  if (which == 0) return {v6_ranges()};
  return which == 1 ? std::vector{v4_ranges(), v6_ranges()} : std::vector{v6_ranges(), v4_ranges()};
}

TEST_CASE("the same with IPv6, alone and beside IPv4") {
  if (skip_without_root()) return;
  int which = GENERATE(0, 1, 2);
  World world(some_families(which));
  TestPod a(world, 0, "pod-a"), b(world, 0, "pod-b"), far(world, 1, "pod-far");
  for (size_t i = 0; i < world.families.size(); ++i) {
    Family family = world.families[i].pods.family();
    CAPTURE(which, to_string(family));
    NamedServer server_a(a.network, "a", 80, Protocol::Tcp, family), server_far(far.network, "far", 80, Protocol::Tcp, family);
    NamedServer server_host(world.host, "host", 8080, Protocol::Tcp, family);
    Address host = world.host_network->host_addresses()[i], node = world.host_network->node_addresses(0)[i];
    auto says = [](std::string_view who, Address client) { return fmt::format("{} {}", who, client.str()); };
    CHECK(a.addresses[i] == world.families[i].pods.at(2));
    CHECK(ask(b.network, {a.addresses[i], 80}) == says("a", b.addresses[i]));
    CHECK(ask(far.network, {a.addresses[i], 80}) == says("a", far.addresses[i]));
    CHECK(ask(a.network, {far.addresses[i], 80}) == says("far", a.addresses[i]));
    CHECK(ask(a.network, {a.addresses[i], 80}) == says("a", a.addresses[i]));
    CHECK(ask(world.host, {a.addresses[i], 80}) == says("a", host));
    CHECK(ask(world.host, {far.addresses[i], 80}) == says("far", host));
    CHECK(ask(world.nodes[0], {far.addresses[i], 80}) == says("far", node));
    CHECK(ask(a.network, {host, 8080}) == says("host", a.addresses[i]));
  }
  // Another life of skiff finds the pods, and the host is left as it was.
  std::vector<Cidr> pods;
  for (const ClusterRanges& family : world.families) pods.push_back(family.pods.part(0, family.pods.length + 8));
  world.pod_networks[0] = checked(PodNetwork::open(world.nodes[0], {.pods = pods}));
  CHECK(world.pod_networks[0]->attached() == std::set<std::string>{"pod-a", "pod-b"});
  CHECK(checked(world.pod_networks[0]->attach("pod-b", b.network)) == b.addresses);
  checked(world.host_network->remove());
  auto netlink = checked(sys::Netlink::open(world.host));
  CHECK(checked(netlink->routes()).empty());
  CHECK(link_names(world.host) == std::vector<std::string>{"lo"});
}

TEST_CASE("attach is idempotent and survives a restart") {
  if (skip_without_root()) return;
  World world;
  TestPod a(world, 0, "pod-a");
  NamedServer server(a.network, "a", 80);
  CHECK(checked(world.pod_networks[0]->attach("pod-a", a.network)) == a.addresses);

  world.pod_networks[0] = checked(PodNetwork::open(world.nodes[0], {.pods = {cidr("10.244.0.0/24")}}));
  CHECK(world.pod_networks[0]->attached() == std::set<std::string>{"pod-a"});
  CHECK(checked(world.pod_networks[0]->attach("pod-a", a.network)) == a.addresses);
  CHECK(ask(world.nodes[0], {a.address, 80}) == "a 10.244.0.1");
  TestPod b(world, 0, "pod-b");
  CHECK(b.address.str() == "10.244.0.3");

  SECTION("a new sandbox of the pod keeps the address") {
    UniqueFd second = new_network();
    CHECK(checked(world.pod_networks[0]->attach("pod-a", second)) == a.addresses);
    NamedServer other(second, "second", 80);
    CHECK(ask(b.network, {a.address, 80}) == "second 10.244.0.3");
  }
  SECTION("sweep removes what no pod owns") {
    checked(world.pod_networks[0]->sweep({"pod-b"}));
    CHECK(world.pod_networks[0]->addresses_of("pod-a").error().code() == Code::NotFound);
    CHECK(link_names(a.network) == std::vector<std::string>{"lo"});
    CHECK(link_names(world.nodes[0]).size() == 3);
  }
}

TEST_CASE("a detached pod is off the network, and its link goes with its namespace") {
  if (skip_without_root()) return;
  World world;
  TestPod a(world, 0, "pod-a"), b(world, 0, "pod-b");
  NamedServer server(a.network, "a", 80);
  checked(world.pod_networks[0]->detach("pod-a"));
  checked(world.pod_networks[0]->detach("pod-a"));
  CHECK(ask(b.network, {a.address, 80}).ends_with("No route to host"));
  CHECK(ask(world.host, {a.address, 80}).ends_with("No route to host"));
  CHECK(world.pod_networks[0]->attached().size() == 1);
  // Another life of skiff takes the link for what it is.
  world.pod_networks[0] = checked(PodNetwork::open(world.nodes[0], {.pods = {cidr("10.244.0.0/24")}}));
  CHECK(world.pod_networks[0]->attached().size() == 1);
  CHECK(link_names(a.network) == std::vector<std::string>{"lo"});
}

TEST_CASE("a released address rests until the others were used") {
  if (skip_without_root()) return;
  UniqueFd node = new_network();
  auto network = checked(PodNetwork::open(node, {.pods = {cidr("10.1.0.0/29")}}));  // .2 to .6 for pods
  UniqueFd pods[6];
  for (UniqueFd& pod : pods) pod = new_network();
  CHECK(checked(network->attach("0", pods[0]))[0].str() == "10.1.0.2");
  checked(network->detach("0"));
  checked(network->detach("0"));
  for (int i = 1; i <= 5; ++i)
    CHECK(checked(network->attach(std::to_string(i), pods[i]))[0].str() ==
          fmt::format("10.1.0.{}", i == 5 ? 2 : i + 2));
  UniqueFd extra = new_network();
  CHECK(network->attach("6", extra).error().code() == Code::TooManyRequests);
}

TEST_CASE("the host is left as it was") {
  if (skip_without_root()) return;
  World world;
  auto netlink = checked(sys::Netlink::open(world.host));
  CHECK(checked(netlink->routes()).size() > 5);
  checked(world.host_network->ensure());
  checked(world.host_network->remove());
  checked(world.host_network->remove());
  CHECK(checked(netlink->routes()).empty());
  CHECK(link_names(world.host) == std::vector<std::string>{"lo"});
  CHECK(checked(netlink->addresses()).size() == 2);  // 127.0.0.1 and ::1
}

TEST_CASE("a range that the host uses already is found") {
  if (skip_without_root()) return;
  UniqueFd host = new_network();
  auto netlink = checked(sys::Netlink::open(host));
  int lo = checked(netlink->link("lo")).index;
  checked(netlink->add_address({lo, {ip("192.168.7.9"), 24}}));
  checked(netlink->replace_route({.destination = {ip("172.16.0.0"), 12}, .link = lo}));
  checked(netlink->replace_route({.destination = sys::Prefix::everything(Family::V4), .link = lo}));
  auto with = [&](std::string_view range) {
    auto found = checked(find_collision(host, {cidr(range)}));
    return found ? found->with : "";
  };
  CHECK(with("10.244.0.0/16") == "");
  CHECK(with("192.168.0.0/16") == "address 192.168.7.9/24 dev lo");
  CHECK(with("192.168.7.0/26") == "address 192.168.7.9/24 dev lo");
  CHECK(with("172.17.0.0/16") == "route 172.16.0.0/12 dev lo");
  checked(netlink->add_address({lo, {ip("fd00:7::9"), 64}}));
  CHECK(with("fd00:7::/112") == "address fd00:7::9/64 dev lo");
  CHECK(with("fd00:8::/112") == "");
}

TEST_CASE("pods reach the outside through the host, and the outside does not reach in") {
  if (skip_without_root()) return;
  UniqueFd outside = new_network();
  World world;
  {
    auto netlink = checked(sys::Netlink::open(world.host));
    checked(netlink->add_veth({"eth0", "", "eth0", outside}));
    int eth0 = checked(netlink->link("eth0")).index;
    checked(netlink->add_address({eth0, {ip("192.0.2.2"), 24}}));
    checked(netlink->replace_route({.destination = sys::Prefix::everything(Family::V4), .link = eth0, .gateway = ip("192.0.2.1")}));
    auto remote = checked(sys::Netlink::open(outside));
    int link = checked(remote->link("eth0")).index;
    checked(remote->set_up(link));
    checked(remote->add_address({link, {ip("192.0.2.1"), 24}}));
    checked(remote->replace_route({.destination = sys::Prefix::everything(Family::V4), .link = link, .gateway = ip("192.0.2.2")}));
  }
  const char* forwarding = "/proc/sys/net/ipv4/conf/eth0/forwarding";
  auto read_forwarding = [&] {
    return checked(sys::in_network(world.host, [&] { return sys::read_file(forwarding); }));
  };
  REQUIRE(read_forwarding() == "0\n");
  TestPod pod(world, 1, "pod");
  NamedServer server(outside, "outside", 80), pod_server(pod.network, "pod", 80);
  CHECK(ask(pod.network, {ip("192.0.2.1"), 80}, 200ms) == "dial tcp 192.0.2.1:80: i/o timeout");

  checked(world.host_network->ensure());
  CHECK(ask(pod.network, {ip("192.0.2.1"), 80}) == "outside 192.0.2.2");
  CHECK(ask(world.host, {pod.address, 80}) == "pod 10.250.0.1");
  CHECK(ask(outside, {pod.address, 80}, 200ms) ==
        fmt::format("dial tcp {}:80: i/o timeout", pod.address.str()));
  checked(world.host_network->ensure());
  CHECK(read_forwarding() == "1\n");
  checked(world.host_network->remove());
  CHECK(read_forwarding() == "0\n");
}

TEST_CASE("pods reach the outside over IPv6 as well") {
  if (skip_without_root()) return;
  if (!sys::exists("/proc/sys/net/ipv6/conf/lo/force_forwarding")) {
    std::cout << "skipped: the kernel has no force_forwarding (Linux 6.17)\n";
    return;
  }
  UniqueFd outside = new_network();
  World world({v4_ranges(), v6_ranges()});
  auto netlink = checked(sys::Netlink::open(world.host));
  checked(netlink->add_veth({"eth0", "", "eth0", outside}));
  int eth0 = checked(netlink->link("eth0")).index;
  checked(netlink->add_address({eth0, {ip("2001:db8::2"), 64}}));
  checked(netlink->replace_route(
      {.destination = sys::Prefix::everything(Family::V6), .link = eth0, .gateway = ip("2001:db8::1")}));
  auto remote = checked(sys::Netlink::open(outside));
  int link = checked(remote->link("eth0")).index;
  checked(remote->set_up(link));
  checked(remote->add_address({link, {ip("2001:db8::1"), 64}}));
  checked(remote->replace_route(
      {.destination = sys::Prefix::everything(Family::V6), .link = link, .gateway = ip("2001:db8::2")}));
  auto switched = [&] {
    return checked(sys::in_network(
        world.host, [] { return sys::read_file("/proc/sys/net/ipv6/conf/eth0/force_forwarding"); }));
  };
  TestPod pod(world, 1, "pod");
  NamedServer server(outside, "outside", 80, Protocol::Tcp, Family::V6), own(pod.network, "pod", 80, Protocol::Tcp, Family::V6);
  checked(world.host_network->ensure());
  CHECK(ask(pod.network, {ip("2001:db8::1"), 80}) == "outside 2001:db8::2");
  CHECK(ask(outside, {pod.addresses[1], 80}, 200ms).ends_with("i/o timeout"));
  CHECK(switched() == "1\n");
  checked(world.host_network->remove());
  CHECK(switched() == "0\n");
}

/// A host with a way out, and what a cluster may leave on it.
struct PlainHost {
  UniqueFd host = new_network(), outside = new_network();
  std::unique_ptr<sys::Netlink> netlink = checked(sys::Netlink::open(host));

  PlainHost() {
    checked(netlink->add_veth({"eth0", "", "eth0", outside}));
    int eth0 = checked(netlink->link("eth0")).index;
    checked(netlink->add_address({eth0, {ip("192.0.2.2"), 24}}));
    checked(netlink->replace_route(
        {.destination = sys::Prefix::everything(Family::V4), .link = eth0, .gateway = ip("192.0.2.1")}));
    checked(netlink->replace_route(
        {.destination = sys::Prefix::everything(Family::V6), .link = eth0, .gateway = ip("fe80::99")}));
  }
  /// Links, addresses, routes, tables and the switches that are touched.
  std::string state() {
    std::string text;
    for (const std::string& name : link_names(host)) text += name + " ";
    for (const sys::LinkAddress& one : checked(netlink->addresses()))
      if (one.prefix.length != 64) text += one.prefix.address.str() + " ";  // the kernel's own come in their time
    for (const sys::Route& one : checked(netlink->routes()))
      if (one.destination.length != 64) text += fmt::format("{}/{} ", one.destination.address.str(), one.destination.length);
    text += checked(sys::run_nft(host, "list ruleset"));
    for (const char* file : {"ipv4/conf/eth0/forwarding", "ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv6/conf/eth0/force_forwarding"}) {
      std::string path = fmt::format("/proc/sys/net/{}", file);
      text += checked(sys::in_network(host, [&]() -> Result<std::string> {
        return sys::exists(path) ? sys::read_file(path) : Result<std::string>(std::string());
      }));
    }
    return text;
  }
};

TEST_CASE("killed between any two steps: what is there works after the next start, and goes with delete") {
  if (skip_without_root()) return;
  PlainHost plain;
  const std::string before = plain.state();
  const std::vector<ClusterRanges> families{v4_ranges(), v6_ranges()};
  UniqueFd node = new_network();
  std::vector<Cidr> pods;
  for (const ClusterRanges& family : families) pods.push_back(family.pods.part(0, family.pods.length + 8));
  auto open = [&](int steps) {
    auto left = std::make_shared<int>(steps);
    return checked(HostNetwork::open(duplicate(plain.host), {"test", families, [left] { return (*left)-- <= 0; }}));
  };
  auto set_up = [&](HostNetwork& network) -> Status {
    TRY(network.ensure());
    return network.ensure_node({.index = 0, .network = node, .pods = pods});
  };
  constexpr int kEndless = 1 << 20;
  NamedServer in_node(node, "node", 80), in_node_v6(node, "node", 80, Protocol::Tcp, Family::V6);
  bool whole = false;
  int steps = 0;
  for (; !whole && steps < 100; ++steps) {
    auto killed = open(steps);
    whole = set_up(*killed).ok();
    CAPTURE(steps);
    if (steps % 3 == 0) {  // the next life goes on from there
      auto next = open(kEndless);
      checked(set_up(*next));
      for (size_t i = 0; i < families.size(); ++i)
        CHECK(ask(plain.host, {next->node_addresses(0)[i], 80}) == "node " + next->host_addresses()[i].str());
    }
    // ... or deletes it, and is killed as well.
    for (int removed = 0;; ++removed) {
      auto deleting = open(removed);
      if (deleting->remove().ok()) break;
      REQUIRE(removed < 100);
    }
    CHECK(plain.state() == before);
  }
  CHECK(whole);
  CHECK(steps > 20);
}

}  // namespace
}  // namespace skiff::net
