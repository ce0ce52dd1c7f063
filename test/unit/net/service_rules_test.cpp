#include "net/service_rules.hpp"

#include <set>

#include "sys/nftables.hpp"
#include "world.hpp"

namespace skiff::net {
namespace {

struct Services {
  World& world;
  std::unique_ptr<ServiceRules> rules[World::kNodes];

  explicit Services(World& in) : world(in) {
    for (int i = 0; i < World::kNodes; ++i)
      rules[i] = checked(ServiceRules::open(duplicate(world.nodes[i]),
                                            {.services = world.ranges.services, .pods = world.ranges.pods}));
  }
  void apply(const std::vector<ServiceRule>& wanted) {
    for (auto& node : rules) checked(node->replace({{"all", wanted}}));
  }
  void change(const RuleGroups& groups) {
    for (auto& node : rules) checked(node->change(groups));
  }
};

const Endpoint kService{{ip("10.96.0.20")}, 80};

ServiceRule service(std::vector<Endpoint> backends) {
  return {.id = "default/web:http",
          .frontends = {{kService.address, 80}, {std::nullopt, 30080}},
          .backends = std::move(backends)};
}

TEST_CASE("a ClusterIP and a NodePort lead to the backends from everywhere") {
  if (skip_without_root()) return;
  World world;
  Services services(world);
  TestPod client(world, 0, "client"), near(world, 0, "near"), far(world, 1, "far");
  NamedServer near_server(near.network, "near", 8080), far_server(far.network, "far", 8080);

  SECTION("on the same node, the client's address is kept") {
    services.apply({service({{near.address, 8080}})});
    CHECK(ask(client.network, kService) == "near " + client.address.str());
    CHECK(ask(far.network, kService) == "near " + far.address.str());
    CHECK(ask(world.nodes[0], kService) == "near 10.250.0.2");
    CHECK(ask(world.host, kService) == "near 10.250.0.1");
    CHECK(ask(client.network, {world.host_network->node_addresses(0)[0], 30080}) ==
          "near " + client.address.str());
    CHECK(ask(world.nodes[0], {world.host_network->node_addresses(0)[0], 30080}) == "near 10.250.0.2");
    CHECK(ask(world.host, {world.host_network->node_addresses(0)[0], 30080}) == "near 10.250.0.1");
  }
  SECTION("a pod reaches itself") {
    services.apply({service({{near.address, 8080}})});
    CHECK(ask(near.network, kService) == "near 10.244.0.1");
  }
  SECTION("through another node") {
    services.apply({service({{far.address, 8080}})});
    CHECK(ask(client.network, kService) == "far " + client.address.str());
    CHECK(ask(world.host, kService) == "far 10.250.0.2");
    CHECK(ask(world.host, {world.host_network->node_addresses(0)[0], 30080}) == "far 10.250.0.2");
    CHECK(ask(world.host, {world.host_network->node_addresses(1)[0], 30080}) == "far 10.250.0.1");
    CHECK(ask(client.network, {world.host_network->node_addresses(1)[0], 30080}) == "far " + client.address.str());
  }
  SECTION("both backends take part") {
    services.apply({service({{near.address, 8080}, {far.address, 8080}})});
    std::set<std::string> seen;
    for (int i = 0; i < 200 && seen.size() < 2; ++i) seen.insert(ask(client.network, kService));
    CHECK(seen == std::set<std::string>{"near " + client.address.str(), "far " + client.address.str()});
  }
  SECTION("a client keeps its backend where that is asked for") {
    ServiceRule rule = service({{near.address, 8080}, {far.address, 8080}});
    rule.affinity_seconds = 100;
    services.apply({rule});
    std::string first = ask(client.network, kService);
    CHECK(first.ends_with(client.address.str()));
    for (int i = 0; i < 20; ++i) CHECK(ask(client.network, kService) == first);
  }
}

TEST_CASE("UDP services") {
  if (skip_without_root()) return;
  World world;
  Services services(world);
  TestPod client(world, 0, "client"), near(world, 0, "near");
  NamedServer server(near.network, "near", 5353, Protocol::Udp);
  services.apply({{.id = "dns",
                   .protocol = Protocol::Udp,
                   .frontends = {{kService.address, 53}},
                   .backends = {{near.address, 5353}}}});
  CHECK(ask_udp(client.network, {kService.address, 53}) == "near " + client.address.str());
  CHECK(ask(client.network, {kService.address, 53}).ends_with("Connection refused"));
}

TEST_CASE("what has no backend is refused, not lost") {
  if (skip_without_root()) return;
  World world;
  Services services(world);
  TestPod client(world, 0, "client"), pod(world, 1, "pod");
  NamedServer server(pod.network, "pod", 8080);
  Endpoint external{ip("203.0.113.9"), 80};
  ServiceRule rule = service({});
  rule.frontends.push_back({external.address, 80});
  services.apply({rule});
  auto refused = [](const std::string& answer) { return answer.ends_with("Connection refused"); };
  CHECK(refused(ask(client.network, kService)));
  CHECK(refused(ask(client.network, {ip("10.96.77.77"), 443})));
  CHECK(refused(ask(world.nodes[0], kService)));
  CHECK(refused(ask(world.host, kService)));
  CHECK(refused(ask(client.network, external)));
  CHECK(refused(ask(client.network, {world.host_network->node_addresses(0)[0], 30080})));

  rule.backends = {{pod.address, 8080}};
  services.apply({rule});
  CHECK(ask(client.network, external) == "pod " + client.address.str());
  CHECK(ask(client.network, kService) == "pod " + client.address.str());
  services.apply({});
  CHECK(refused(ask(client.network, kService)));
}

TEST_CASE("changes are applied one by one and whole after a restart") {
  if (skip_without_root()) return;
  World world;
  Services services(world);
  TestPod client(world, 0, "client"), pod(world, 0, "pod");
  NamedServer one(pod.network, "one", 1001), two(pod.network, "two", 1002);
  ServiceRule rule = service({{pod.address, 1001}});
  services.change({{"web", {rule}}});
  CHECK(ask(client.network, kService).starts_with("one"));
  rule.backends = {{pod.address, 1002}};
  services.change({{"web", {rule}}});
  services.change({{"web", {rule}}});
  CHECK(ask(client.network, kService).starts_with("two"));
  // The port moves to another service in one step.
  ServiceRule other{
      .id = "default/zzz:http", .frontends = {{kService.address, 80}}, .backends = {{pod.address, 1001}}};
  services.change({{"web", {}}, {"other", {other}}});
  CHECK(ask(client.network, kService).starts_with("one"));
  // Of two that want the same, one has it; the other gets it when the first goes.
  services.change({{"web", {rule}}});
  CHECK(ask(client.network, kService).starts_with("two"));
  services.change({{"web", {}}});
  CHECK(ask(client.network, kService).starts_with("one"));

  Services restarted(world);
  CHECK(ask(client.network, kService).starts_with("one"));
  restarted.apply({rule});
  CHECK(ask(client.network, kService).starts_with("two"));
  checked(restarted.rules[0]->remove());
  checked(restarted.rules[0]->change({{"web", {rule}}}));
  CHECK(ask(client.network, kService).starts_with("two"));
}

TEST_CASE("a table that somebody else changed is written anew; one that the kernel refuses leaves the old") {
  if (skip_without_root()) return;
  World world;
  Services services(world);
  TestPod client(world, 0, "client"), pod(world, 0, "pod");
  NamedServer one(pod.network, "one", 1001), two(pod.network, "two", 1002);
  services.apply({service({{pod.address, 1001}})});
  checked(sys::run_nft(world.nodes[0], "delete table ip skiff"));
  services.change({{"all", {service({{pod.address, 1002}})}}});
  CHECK(ask(client.network, kService).starts_with("two"));
  // Overlapping source ranges of one frontend are what the kernel does not take.
  ServiceRule bad = service({{pod.address, 1001}});
  bad.sources = {cidr("10.0.0.0/8"), cidr("10.1.0.0/16")};
  CHECK_FALSE(services.rules[0]->change({{"all", {bad}}}).ok());
  CHECK(ask(client.network, kService).starts_with("two"));
  services.change({{"all", {service({{pod.address, 1001}})}}});
  CHECK(ask(client.network, kService).starts_with("one"));
}

TEST_CASE("a client keeps its backend while that exists, also when others come and go") {
  if (skip_without_root()) return;
  World world;
  Services services(world);
  TestPod client(world, 0, "client"), pod(world, 0, "pod");
  std::vector<Endpoint> backends;
  std::vector<std::unique_ptr<NamedServer>> servers;
  for (std::uint16_t port = 1001; port <= 1005; ++port) {
    servers.push_back(std::make_unique<NamedServer>(pod.network, std::to_string(port), port));
    backends.push_back({pod.address, port});
  }
  ServiceRule rule = service(backends);
  rule.affinity_seconds = 100;
  services.apply({rule});
  std::string kept = ask(client.network, kService).substr(0, 4);
  for (int i = 0; i < 10; ++i) CHECK(ask(client.network, kService).starts_with(kept));
  // The kernel forgets it after its time.
  CHECK(checked(sys::run_nft(world.nodes[0], "list map ip skiff affinity")).find("timeout 1m40s expires") !=
        std::string::npos);
  // All but it and one other go, then come back.
  std::erase_if(rule.backends, [&](Endpoint e) { return std::to_string(e.port) != kept && e.port != 1003; });
  services.change({{"all", {rule}}});
  for (int i = 0; i < 10; ++i) CHECK(ask(client.network, kService).starts_with(kept));
  rule.backends = backends;
  services.change({{"all", {rule}}});
  for (int i = 0; i < 10; ++i) CHECK(ask(client.network, kService).starts_with(kept));
  // Without it the client gets another and stays there.
  std::erase_if(rule.backends, [&](Endpoint e) { return std::to_string(e.port) == kept; });
  services.change({{"all", {rule}}});
  std::string next = ask(client.network, kService).substr(0, 4);
  CHECK(next != kept);
  for (int i = 0; i < 10; ++i) CHECK(ask(client.network, kService).starts_with(next));
}

TEST_CASE("clients outside of the cluster get what is meant for them") {
  if (skip_without_root()) return;
  World world;
  Services services(world);
  TestPod client(world, 0, "client"), near(world, 0, "near"), far(world, 1, "far");
  NamedServer near_server(near.network, "near", 8080), far_server(far.network, "far", 8080);
  Endpoint balancer{ip("10.250.0.130"), 80};
  ServiceRule rule{.id = "lb",
                   .frontends = {{balancer.address, 80}, {std::nullopt, 30080}},
                   .backends = {{far.address, 8080}}};
  rule.outside.emplace(std::vector<Endpoint>{{near.address, 8080}});
  services.apply({rule});
  Endpoint node_port{world.host_network->node_addresses(0)[0], 30080};
  for (Endpoint target : {balancer, node_port}) {
    CHECK(ask(world.host, target) == "near 10.250.0.1");  // with its own address
    CHECK(ask(client.network, target) == "far " + client.address.str());
    CHECK(ask(world.nodes[0], target) == "far 10.250.0.2");
  }
  rule.outside->clear();
  services.apply({rule});
  CHECK(ask(world.host, balancer, 100ms).find("i/o timeout") != std::string::npos);
  CHECK(ask(client.network, balancer).starts_with("far"));

  SECTION("only from the ranges that are let in") {
    rule.outside.reset();
    rule.sources = {cidr("192.0.2.0/24"), {client.address, 32}};
    services.apply({rule});
    CHECK(ask(client.network, balancer).starts_with("far"));
    CHECK(ask(world.host, balancer, 100ms).find("i/o timeout") != std::string::npos);
    CHECK(ask(world.host, node_port, 100ms).find("i/o timeout") != std::string::npos);
  }
}

TEST_CASE("UDP flows do not outlive their backend") {
  if (skip_without_root()) return;
  World world;
  Services services(world);
  TestPod client(world, 0, "client"), one(world, 0, "one"), two(world, 1, "two");
  NamedServer first(one.network, "one", 5353, Protocol::Udp), second(two.network, "two", 5353, Protocol::Udp);
  ServiceRule rule{.id = "dns", .protocol = Protocol::Udp, .frontends = {{kService.address, 53}}};
  rule.backends = {{one.address, 5353}};
  services.apply({rule});
  // One socket, so one flow.
  UniqueFd socket = checked(sys::in_network(client.network, [] { return open_socket(Protocol::Udp, Family::V4); }));
  checked(connect_socket(socket, {kService.address, 53}));
  auto ask_again = [&] {
    checked(sys::write_all(socket, "?", "server"));
    pollfd waiting{socket.get(), POLLIN, 0};
    if (::poll(&waiting, 1, 3000) <= 0) return std::string("no answer");
    return checked(sys::read_some(socket, 4096, "server"));
  };
  CHECK(ask_again().starts_with("one"));
  rule.backends = {{two.address, 5353}};
  services.change({{"all", {rule}}});
  CHECK(ask_again().starts_with("two"));
}

TEST_CASE("a thousand services are one transaction") {
  if (skip_without_root()) return;
  World world;
  Services services(world);
  TestPod client(world, 0, "client"), pod(world, 0, "pod");
  NamedServer server(pod.network, "pod", 8080);
  RuleGroups wanted;
  for (std::uint32_t i = 0; i < 1000; ++i)
    wanted[std::to_string(i)] = {
        {.id = std::to_string(i),
         .frontends = {{world.ranges.services.at(i + 100), 80}},
         .backends = {{pod.address, 8080}, {pod.address, 8081}, {pod.address, 8082}}}};
  checked(services.rules[0]->replace(wanted));
  wanted["999"][0].backends.resize(1);
  checked(services.rules[0]->change({{"999", wanted["999"]}}));
  CHECK(ask(client.network, {world.ranges.services.at(1099), 80}).starts_with("pod"));
}

TEST_CASE("services of IPv6") {
  if (skip_without_root()) return;
  World world({v4_ranges(), v6_ranges()});
  const ClusterRanges v6 = world.families[1];
  std::vector<std::unique_ptr<ServiceRules>> rules;
  for (const UniqueFd& node : world.nodes)
    rules.push_back(checked(ServiceRules::open(duplicate(node), {.services = v6.services, .pods = v6.pods})));
  TestPod client(world, 0, "client"), near(world, 0, "near"), far(world, 1, "far");
  NamedServer near_server(near.network, "near", 8080, Protocol::Tcp, Family::V6),
      far_server(far.network, "far", 8080, Protocol::Tcp, Family::V6),
      far_udp(far.network, "far", 53, Protocol::Udp, Family::V6);
  const Endpoint web{v6.services.at(0x20), 80}, dns{v6.services.at(0x21), 53}, none{v6.services.at(0x22), 80};
  auto rule = [&](Address backend) {
    return ServiceRule{.id = "web", .frontends = {{web.address, 80}, {std::nullopt, 30080}}, .backends = {{backend, 8080}}};
  };
  auto apply = [&](ServiceRule wanted) {
    ServiceRule udp{.id = "dns", .protocol = Protocol::Udp, .frontends = {{dns.address, 53}}, .backends = {{far.addresses[1], 53}}};
    ServiceRule empty{.id = "none", .frontends = {{none.address, 80}}};
    for (auto& node : rules) checked(node->replace({{"all", {wanted, udp, empty}}}));
  };
  Address node = world.host_network->node_addresses(0)[1];
  apply(rule(near.addresses[1]));
  CHECK(ask(client.network, web) == "near " + client.addresses[1].str());
  CHECK(ask(world.nodes[0], web) == "near " + node.str());
  CHECK(ask(world.host, {node, 30080}) == "near " + world.host_network->host_addresses()[1].str());
  CHECK(ask(near.network, web).starts_with("near "));  // a pod reaches itself
  CHECK(ask_udp(client.network, dns) == "far " + client.addresses[1].str());
  CHECK(ask(client.network, none).ends_with("Connection refused"));
  CHECK(ask(client.network, {v6.services.at(0x99), 80}).ends_with("Connection refused"));
  for (auto& one : rules) checked(one->change({{"all", {rule(far.addresses[1])}}}));
  CHECK(ask(client.network, web) == "far " + client.addresses[1].str());
  // Affinity: whoever came once comes back to the same server.
  ServiceRule sticky = rule(near.addresses[1]);
  sticky.backends.push_back({far.addresses[1], 8080});
  sticky.affinity_seconds = 60;
  apply(sticky);
  const std::string first = ask(client.network, web);
  CHECK(first.ends_with(client.addresses[1].str()));
  for (int i = 0; i < 8; ++i) CHECK(ask(client.network, web) == first);
  // Clients that are not let in.
  ServiceRule guarded = rule(near.addresses[1]);
  guarded.sources = {{far.addresses[1], 128}};
  apply(guarded);
  CHECK(ask(far.network, web) == "near " + far.addresses[1].str());
  CHECK(ask(client.network, web, 200ms).ends_with("i/o timeout"));
}

TEST_CASE("SCTP services refuse at once without endpoints, and lead to those they have") {
  if (skip_without_root()) return;
  World world;
  Services services(world);
  TestPod client(world, 0, "client"), server(world, 1, "server");
  ServiceRule rule{.id = "sctp", .protocol = Protocol::Sctp, .frontends = {{kService.address, 80}}};
  services.apply({rule});
  // The rules are what they are whatever the kernel speaks.
  std::string listed = checked(sys::run_nft(world.nodes[0], "list set ip skiff refused"));
  INFO(listed);
  CHECK(listed.find("10.96.0.20 . 132 . 80") != std::string::npos);
  Result<UniqueFd> listener = sys::in_network(server.network, [] { return open_listener(Protocol::Sctp, {Address::any(Family::V4), 8080}); });
  if (!listener.ok() && listener.error().sys_errno() == EPROTONOSUPPORT) {
    std::cout << "skipped: traffic of SCTP, which this kernel does not speak\n";
    return;
  }
  REQUIRE(listener.ok());
  auto outcome = [&]() -> std::string {
    UniqueFd socket = checked(sys::in_network(client.network, [] { return open_socket(Protocol::Sctp, Family::V4); }));
    if (Status begun = connect_socket(socket, kService); !begun.ok()) return begun.error().message();
    pollfd waiting{socket.get(), POLLOUT, 0};
    if (::poll(&waiting, 1, 3000) <= 0) return "no answer";
    return pending_error(socket) == 0 ? "connected" : "refused";
  };
  CHECK(outcome() == "refused");
  rule.backends = {{server.address, 8080}};
  services.apply({rule});
  CHECK(outcome() == "connected");
}

}  // namespace
}  // namespace skiff::net
