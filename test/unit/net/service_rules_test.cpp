#include "net/service_rules.hpp"

#include <set>

#include "world.hpp"

namespace skiff::net {
namespace {

struct Services {
  World& world;
  std::unique_ptr<ServiceRules> rules[World::kNodes];

  explicit Services(World& in) : world(in) {
    for (int i = 0; i < World::kNodes; ++i)
      rules[i] = checked(ServiceRules::open(duplicate(world.nodes[i]), {.services = world.ranges.services}));
  }
  void apply(const std::vector<ServiceRule>& wanted) {
    for (auto& node : rules) checked(node->apply(wanted));
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
    CHECK(ask(client.network, {world.host_network->node_address(0), 30080}) ==
          "near " + client.address.str());
    CHECK(ask(world.nodes[0], {world.host_network->node_address(0), 30080}) == "near 10.250.0.2");
    CHECK(ask(world.host, {world.host_network->node_address(0), 30080}) == "near 10.250.0.1");
  }
  SECTION("a pod reaches itself") {
    services.apply({service({{near.address, 8080}})});
    CHECK(ask(near.network, kService) == "near 10.244.0.1");
  }
  SECTION("through another node") {
    services.apply({service({{far.address, 8080}})});
    CHECK(ask(client.network, kService) == "far " + client.address.str());
    CHECK(ask(world.host, kService) == "far 10.250.0.2");
    CHECK(ask(world.host, {world.host_network->node_address(0), 30080}) == "far 10.250.0.2");
    CHECK(ask(world.host, {world.host_network->node_address(1), 30080}) == "far 10.250.0.1");
    CHECK(ask(client.network, {world.host_network->node_address(1), 30080}) == "far " + client.address.str());
  }
  SECTION("both backends take part") {
    services.apply({service({{near.address, 8080}, {far.address, 8080}})});
    std::set<std::string> seen;
    for (int i = 0; i < 200 && seen.size() < 2; ++i) seen.insert(ask(client.network, kService));
    CHECK(seen == std::set<std::string>{"near " + client.address.str(), "far " + client.address.str()});
  }
  SECTION("a client keeps its backend where that is asked for") {
    ServiceRule rule = service({{near.address, 8080}, {far.address, 8080}});
    rule.client_affinity = true;
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
  CHECK(refused(ask(client.network, {world.host_network->node_address(0), 30080})));

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
  services.apply({rule});
  CHECK(ask(client.network, kService).starts_with("one"));
  rule.backends = {{pod.address, 1002}};
  services.apply({rule});
  services.apply({rule});
  CHECK(ask(client.network, kService).starts_with("two"));
  // The port moves to another service in one step.
  ServiceRule other{
      .id = "default/other:http", .frontends = {{kService.address, 80}}, .backends = {{pod.address, 1001}}};
  services.apply({other});
  CHECK(ask(client.network, kService).starts_with("one"));
  // Of two that want the same, the first has it.
  services.apply({rule, other});
  CHECK(ask(client.network, kService).starts_with("two"));

  Services restarted(world);
  CHECK(ask(client.network, kService).starts_with("two"));
  restarted.apply({other});
  CHECK(ask(client.network, kService).starts_with("one"));
  checked(restarted.rules[0]->remove());
  restarted.rules[0] = nullptr;
  services.rules[0] =
      checked(ServiceRules::open(duplicate(world.nodes[0]), {.services = world.ranges.services}));
  checked(services.rules[0]->apply({rule}));
  checked(sys::in_network(world.nodes[0], []() -> Status { return ok(); }));
  CHECK(ask(client.network, kService).starts_with("two"));
}

TEST_CASE("a thousand services are one transaction") {
  if (skip_without_root()) return;
  World world;
  Services services(world);
  TestPod client(world, 0, "client"), pod(world, 0, "pod");
  NamedServer server(pod.network, "pod", 8080);
  std::vector<ServiceRule> wanted;
  for (std::uint32_t i = 0; i < 1000; ++i)
    wanted.push_back({.id = std::to_string(i),
                      .frontends = {{world.ranges.services.at(i + 100), 80}},
                      .backends = {{pod.address, 8080}, {pod.address, 8081}, {pod.address, 8082}}});
  checked(services.rules[0]->apply(wanted));
  wanted[999].backends.resize(1);
  checked(services.rules[0]->apply(wanted));
  CHECK(ask(client.network, {world.ranges.services.at(1099), 80}).starts_with("pod"));
}

}  // namespace
}  // namespace skiff::net
