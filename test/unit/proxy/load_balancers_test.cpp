#include "proxy/load_balancers.hpp"

#include <catch2/catch.hpp>

#include "api/json.hpp"
#include "proxy/host_relays.hpp"

namespace skiff::proxy {
namespace {

using client::Ref;

const net::Cidr kRange = net::parse_cidr("10.243.8.0/29").value();  // .1 to .6 can be given

/// Services are as old as their place in the list.
struct Wish {
  std::string name, spec, has;
};

const std::string kPort = R"(,"ports":[{"port":80,"protocol":"TCP"}])";

std::vector<Ref<api::Service>> services(const std::vector<Wish>& wishes) {
  std::vector<Ref<api::Service>> made;
  for (const Wish& wish : wishes) {
    std::string status = wish.has.empty() ? "" : fmt::format(R"("ingress":[{{"ip":"{}"}}])", wish.has);
    Result<api::Service> service = api::from_json<api::Service>(fmt::format(
        R"({{"metadata":{{"namespace":"d","name":"{}","creationTimestamp":"2026-01-01T00:00:{:02}Z"}},
            "spec":{{"type":"LoadBalancer"{}{}}},"status":{{"loadBalancer":{{{}}}}}}})",
        wish.name, made.size(), wish.spec.find("ports") == std::string::npos ? kPort : "", wish.spec,
        status));
    REQUIRE(service.ok());
    made.push_back(std::make_shared<api::Service>(std::move(service).value()));
  }
  return made;
}

std::string plan(const std::vector<Wish>& wishes, std::set<net::Address> reserved = {}) {
  std::string text;
  for (const auto& [key, given] : plan_balancer_addresses(services(wishes), kRange, reserved)) {
    text += fmt::format("{} {}", key.name, given.address ? given.address->str() : "none");
    text += given.refused.empty() ? "; " : " (" + given.refused + "); ";
  }
  return text;
}

TEST_CASE("who gets which address") {
  CHECK(plan({{"a"}, {"b"}}) == "a 10.243.8.1; b 10.243.8.2; ");
  CHECK(plan({{"a"}, {"b"}}, {net::parse_address("10.243.8.1").value()}) == "a 10.243.8.2; b 10.243.8.3; ");
  // What is had is kept, though an older Service comes along.
  CHECK(plan({{"a"}, {"b", "", "10.243.8.1"}}) == "a 10.243.8.2; b 10.243.8.1; ");
  // Not what is not ours, or is had by another.
  CHECK(plan({{"a", "", "192.0.2.1"}}) == "a 10.243.8.1; ");
  CHECK(plan({{"a", "", "10.243.8.3"}, {"b", "", "10.243.8.3"}}) == "a 10.243.8.3; b 10.243.8.1; ");
  // Wishes.
  const std::string kWish = R"(,"loadBalancerIP":"10.243.8.1")";
  CHECK(plan({{"a"}, {"b", kWish}}) == "a 10.243.8.2; b 10.243.8.1; ");
  CHECK(plan({{"a", "", "10.243.8.1"}, {"b", kWish}}) ==
        "a 10.243.8.1; b 10.243.8.2 (10.243.8.1 is taken); ");
  CHECK(plan({{"a", kWish, "10.243.8.4"}}) == "a 10.243.8.1; ");
  CHECK(plan({{"a", R"(,"loadBalancerIP":"1.2.3.4")", "10.243.8.4"}}) ==
        "a 10.243.8.4 (1.2.3.4 is not in this cluster's range 10.243.8.0/29); ");
  // Classes of others, and other types.
  CHECK(plan({{"a", R"(,"loadBalancerClass":"example.com/x")"}}) == "");
  CHECK(plan({{"a", R"(,"loadBalancerClass":"skiff.io/load-balancer")"}}) == "a 10.243.8.1; ");
  // A range that is used up.
  CHECK(plan({{"a"}, {"b"}, {"c"}, {"d"}, {"e"}, {"f"}, {"g"}}).ends_with("f 10.243.8.6; g none; "));
}

TEST_CASE("which ports are opened on the host") {
  const HostRelaysSpec spec{
      {net::parse_address("127.0.0.1").value()}, {net::parse_address("10.243.0.2").value()}, {kRange}};
  auto text = [&](const std::vector<Wish>& wishes) {
    HostRelayPlan plan = plan_host_relays(services(wishes), spec);
    std::string out;
    for (const HostRelay& one : plan.relays)
      out += fmt::format("{} {}->{}; ", one.service.name, one.relay.listen.str(), one.relay.target.str());
    for (const RelayConflict& one : plan.conflicts)
      out += fmt::format("{} not {}: {}; ", one.wanted.service.name, one.wanted.relay.listen.str(),
                         one.taken_by.name);
    return out;
  };
  CHECK(text({{"a", "", "10.243.8.1"}}) == "a 127.0.0.1:80->10.243.8.1:80; ");
  CHECK(text({{"a", "", "192.0.2.1"}, {"b"}}) == "");
  CHECK(text({{"z", "", "10.243.8.1"}, {"a", "", "10.243.8.2"}}) ==
        "z 127.0.0.1:80->10.243.8.1:80; a not 127.0.0.1:80: z; ");
  CHECK(text({{"a", R"(,"ports":[{"port":80,"nodePort":30080,"protocol":"TCP"}])", "10.243.8.1"}}) ==
        "a 127.0.0.1:30080->10.243.0.2:30080; a 127.0.0.1:80->10.243.8.1:80; ");
  // A port stays where it is, though an older Service comes to want it.
  std::vector<HostRelay> before = plan_host_relays(services({{"z", "", "10.243.8.1"}}), spec).relays;
  HostRelayPlan plan =
      plan_host_relays(services({{"a", "", "10.243.8.2"}, {"z", "", "10.243.8.1"}}), spec, before);
  CHECK(plan.relays == before);
  CHECK(plan.conflicts.size() == 1);
}

TEST_CASE("addresses and ports of both families") {
  const net::Cidr v6 = net::parse_cidr("fd00:243::8:0/125").value();
  const std::string kBoth = R"(,"ipFamilies":["IPv6","IPv4"])";
  auto all = services({{"four"}, {"both", kBoth}, {"six", R"(,"ipFamilies":["IPv6"])"},
                       {"wish", kBoth + R"(,"loadBalancerIP":"fd00:243::8:3")"}});
  auto text = [&](const net::Cidr& range) {
    std::string out;
    for (const auto& [key, given] : plan_balancer_addresses(all, range, {}))
      out += fmt::format("{} {}{}; ", key.name, given.address->str(), given.refused.empty() ? "" : " refused");
    return out;
  };
  CHECK(text(kRange) == "both 10.243.8.2; four 10.243.8.1; wish 10.243.8.3; ");
  CHECK(text(v6) == "both fd00:243::8:1; six fd00:243::8:2; wish fd00:243::8:3; ");

  const HostRelaysSpec spec{{net::Address::loopback(net::Family::V4), net::Address::loopback(net::Family::V6)},
                            {net::parse_address("10.243.0.2").value(), net::parse_address("fd00:243::2").value()},
                            {kRange, v6}};
  auto relays = [&](const std::string& families, const std::string& has) {
    std::string out;
    const std::string kNode = R"(,"ports":[{"port":80,"nodePort":30080,"protocol":"TCP"}])";
    for (const HostRelay& one : plan_host_relays(services({{"a", families + kNode, has}}), spec).relays)
      out += fmt::format("{}->{}; ", one.relay.listen.str(), one.relay.target.str());
    return out;
  };
  // Whoever calls localhost may mean either: a relay changes families where it must.
  CHECK(relays(R"(,"ipFamilies":["IPv4","IPv6"])", "10.243.8.1") ==
        "127.0.0.1:30080->10.243.0.2:30080; [::1]:30080->[fd00:243::2]:30080; "
        "127.0.0.1:80->10.243.8.1:80; [::1]:80->10.243.8.1:80; ");
  CHECK(relays(R"(,"ipFamilies":["IPv6"])", "fd00:243::8:1") ==
        "127.0.0.1:30080->[fd00:243::2]:30080; [::1]:30080->[fd00:243::2]:30080; "
        "127.0.0.1:80->[fd00:243::8:1]:80; [::1]:80->[fd00:243::8:1]:80; ");
}

}  // namespace
}  // namespace skiff::proxy
