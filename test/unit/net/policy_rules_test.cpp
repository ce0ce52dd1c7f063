#include "net/policy_rules.hpp"

#include "net/service_rules.hpp"
#include "sys/nftables.hpp"
#include "world.hpp"

namespace skiff::net {
namespace {

std::string text(const std::vector<AddressRange>& ranges) {
  std::string out;
  for (const AddressRange& range : ranges) out += range.first.str() + "-" + range.last.str() + " ";
  return out;
}

TEST_CASE("blocks with holes") {
  CHECK(text(without(cidr("10.0.0.0/24"), {})) == "10.0.0.0-10.0.0.255 ");
  CHECK(text(without(cidr("10.0.0.0/24"), {cidr("10.0.0.64/26")})) ==
        "10.0.0.0-10.0.0.63 10.0.0.128-10.0.0.255 ");
  CHECK(text(without(cidr("10.0.0.0/24"), {cidr("10.0.0.192/26"), cidr("10.0.0.0/26"),
                                           cidr("10.0.0.16/28")})) == "10.0.0.64-10.0.0.191 ");
  CHECK(text(without(cidr("10.0.0.0/24"), {cidr("10.0.0.0/8")})) == "");
  CHECK(text(without(cidr("10.0.0.0/24"), {cidr("192.0.2.0/24")})) == "10.0.0.0-10.0.0.255 ");
  CHECK(text(without(cidr("0.0.0.0/0"), {cidr("255.255.255.255/32")})) == "0.0.0.0-255.255.255.254 ");
  CHECK(text(without(cidr("0.0.0.0/0"), {cidr("128.0.0.0/1")})) == "0.0.0.0-127.255.255.255 ");
  CHECK(text(without(cidr("fd00::/64"), {cidr("fd00::/66"), cidr("fd00:0:0:0:ffff::/80")})) ==
        "fd00::4000:0:0:0-fd00::fffe:ffff:ffff:ffff ");
  CHECK(text(without(cidr("::/0"), {cidr("8000::/1")})) == "::-7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ");
  CHECK(text(without(cidr("::/0"), {cidr("::/0")})) == "");
}

struct Policies {
  World& world;
  std::unique_ptr<PolicyRules> rules[World::kNodes];
  explicit Policies(World& in) : world(in) {
    for (int i = 0; i < World::kNodes; ++i)
      rules[i] = checked(PolicyRules::open(world.nodes[i], {.nodes = world.ranges.nodes, .answering = {}}));
  }
};

std::vector<PolicyAllow> only(PolicyAllow allow) {
  std::vector<PolicyAllow> allows;
  allows.push_back(std::move(allow));
  return allows;
}

bool silent(const std::string& answer) { return answer.ends_with("i/o timeout"); }
/// A busy machine may take long to answer, but what is dropped is never answered.
bool is_let_in(const UniqueFd& network, Endpoint target) { return !silent(ask(network, target)); }
bool is_cut_off(const UniqueFd& network, Endpoint target) { return silent(ask(network, target, 150ms)); }

TEST_CASE("policies of ingress: by pod, block and port, on any node") {
  if (skip_without_root()) return;
  World world;
  Policies policies(world);
  TestPod server(world, 0, "server"), near(world, 0, "near"), far(world, 1, "far");
  NamedServer one(server.network, "one", 1001), two(server.network, "two", 1002);
  const Endpoint first{server.address, 1001}, second{server.address, 1002};

  NodePolicies wanted;
  wanted.pods[server.address].ingress.emplace();
  checked(policies.rules[0]->apply(wanted));
  CHECK(is_cut_off(near.network, first));
  CHECK(is_cut_off(far.network, first));
  // The node, the host and the pod itself are always let in.
  CHECK(is_let_in(world.nodes[0], first));
  CHECK(is_let_in(world.host, first));
  CHECK(is_let_in(server.network, first));

  SECTION("a set of pods, which grows and shrinks") {
    wanted.sets["clients"] = {near.address};
    wanted.pods[server.address].ingress =
        only({.pods = "clients", .ranges = {}, .ports = {{Protocol::Tcp, 1001, 1001}}});
    checked(policies.rules[0]->apply(wanted));
    CHECK(is_let_in(near.network, first));
    CHECK(is_cut_off(near.network, second));
    CHECK(is_cut_off(far.network, first));
    wanted.sets["clients"] = {far.address};
    checked(policies.rules[0]->apply(wanted));
    CHECK(is_cut_off(near.network, first));
    CHECK(is_let_in(far.network, first));
  }
  SECTION("blocks and ranges of ports") {
    wanted.pods[server.address].ingress =
        only({.ranges = without(cidr("10.244.0.0/16"), {{near.address, 32}}),
              .ports = {{Protocol::Tcp, 1000, 1001}, {Protocol::Udp}}});
    checked(policies.rules[0]->apply(wanted));
    CHECK(is_cut_off(near.network, first));
    CHECK(is_let_in(far.network, first));
    CHECK(is_cut_off(far.network, second));
  }
  SECTION("anybody") {
    wanted.pods[server.address].ingress = only({.anybody = true, .ranges = {}, .ports = {}});
    checked(policies.rules[0]->apply(wanted));
    CHECK(is_let_in(near.network, second));
  }
  SECTION("nobody is told to") {
    checked(policies.rules[0]->apply({}));
    CHECK(is_let_in(near.network, first));
    checked(policies.rules[0]->apply(wanted));
    CHECK(is_cut_off(near.network, first));
  }
  SECTION("a table that somebody else changed is written anew") {
    checked(sys::run_nft(world.nodes[0], "delete table ip skiff_policy"));
    CHECK(is_let_in(near.network, first));
    wanted.pods[server.address].egress.emplace();
    checked(policies.rules[0]->apply(wanted));
    CHECK(is_cut_off(near.network, first));
  }
}

TEST_CASE("policies of egress, also through a Service, and answers always come back") {
  if (skip_without_root()) return;
  World world;
  Policies policies(world);
  TestPod client(world, 0, "client"), good(world, 1, "good"), bad(world, 0, "bad");
  NamedServer good_server(good.network, "good", 80), bad_server(bad.network, "bad", 80),
      own(client.network, "client", 80);
  NodePolicies wanted;
  wanted.sets["good"] = {good.address};
  wanted.pods[client.address].egress = only({.pods = "good", .ranges = {}, .ports = {}});
  checked(policies.rules[0]->apply(wanted));
  CHECK(ask(client.network, {good.address, 80}).starts_with("good"));
  CHECK(silent(ask(client.network, {bad.address, 80}, 150ms)));
  CHECK(silent(ask(client.network, {world.host_network->node_addresses(1)[0], 80}, 150ms)));
  CHECK(ask(bad.network, {client.address, 80}).starts_with("client"));

  auto services = checked(ServiceRules::open(duplicate(world.nodes[0]), {.services = world.ranges.services}));
  const Endpoint service{ip("10.96.0.20"), 8080};
  auto lead_to = [&](Address backend) {
    checked(services->replace(
        {{"s", {{.id = "s", .frontends = {{service.address, 8080}}, .backends = {{backend, 80}}}}}}));
  };
  lead_to(good.address);
  CHECK(ask(client.network, service).starts_with("good"));
  lead_to(bad.address);
  CHECK(silent(ask(client.network, service, 150ms)));
}

TEST_CASE("policies of IPv6") {
  if (skip_without_root()) return;
  World world({v4_ranges(), v6_ranges()});
  auto rules = checked(PolicyRules::open(world.nodes[0], {.nodes = world.families[1].nodes, .answering = {}}));
  TestPod server(world, 0, "server"), near(world, 0, "near"), far(world, 1, "far");
  NamedServer one(server.network, "one", 1001, Protocol::Tcp, Family::V6), v4(server.network, "v4", 1001);
  const Endpoint first{server.addresses[1], 1001};
  NodePolicies wanted;
  wanted.pods[server.addresses[1]].ingress.emplace();
  checked(rules->apply(wanted));
  CHECK(is_cut_off(near.network, first));
  CHECK(is_cut_off(far.network, first));
  CHECK(is_let_in(world.nodes[0], first));
  CHECK(is_let_in(world.host, first));
  CHECK(is_let_in(server.network, first));
  CHECK(is_let_in(near.network, {server.address, 1001}));  // the other family has rules of its own
  wanted.sets["clients"] = {near.addresses[1]};
  wanted.pods[server.addresses[1]].ingress =
      only({.pods = "clients", .ranges = {}, .ports = {{Protocol::Tcp, 1001, 1001}}});
  checked(rules->apply(wanted));
  CHECK(is_let_in(near.network, first));
  CHECK(is_cut_off(far.network, first));
  wanted.pods[server.addresses[1]].ingress =
      only({.ranges = without(world.families[1].pods, {{near.addresses[1], 128}}), .ports = {}});
  checked(rules->apply(wanted));
  CHECK(is_cut_off(near.network, first));
  CHECK(is_let_in(far.network, first));
}

}  // namespace
}  // namespace skiff::net
