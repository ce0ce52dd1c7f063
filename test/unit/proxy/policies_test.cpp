#include "proxy/policies.hpp"

#include <catch2/catch.hpp>

#include "api/json.hpp"

namespace skiff::proxy {
namespace {

using client::Ref;

net::Address ip(const std::string& text) { return net::parse_address(text).value(); }

/// Namespaces a and b, each with a web and a db; web has a port "http", 80 in a and 8080 in b. All on node n,
/// but b/db.
PolicyView world(const std::vector<std::string>& specs) {
  PolicyView view;
  view.namespaces = {{"a", {{"team", "red"}}}, {"b", {{"team", "blue"}}}};
  view.pods = {{"a", "n", {{"app", "web"}}, {ip("10.0.0.1")}, {{"http", net::Protocol::Tcp, 80}}},
               {"a", "n", {{"app", "db"}}, {ip("10.0.0.2")}, {}},
               {"b", "n", {{"app", "web"}}, {ip("10.0.1.1")}, {{"http", net::Protocol::Tcp, 8080}}},
               {"b", "other", {{"app", "db"}}, {ip("10.0.1.2")}, {}}};
  for (size_t i = 0; i < specs.size(); ++i) {
    auto policy = api::from_json<api::NetworkPolicy>(
        fmt::format(R"({{"metadata":{{"namespace":"a","name":"p{}"}},"spec":{}}})", i, specs[i]));
    INFO(specs[i]);
    REQUIRE(policy.ok());
    view.policies.push_back(std::make_shared<api::NetworkPolicy>(std::move(policy).value()));
  }
  return view;
}

std::string text(const net::NodePolicies& all, const std::vector<net::PolicyAllow>& allows) {
  std::string out;
  for (const net::PolicyAllow& allow : allows) {
    out += allow.anybody ? "[any" : "[";
    if (!allow.pods.empty())
      for (net::Address address : all.sets.at(allow.pods)) out += address.str() + " ";
    for (const net::AddressRange& range : allow.ranges)
      out += range.first.str() + "-" + range.last.str() + " ";
    for (const net::PortRange& port : allow.ports)
      out += fmt::format(":{}/{}-{}", net::to_string(port.protocol), port.first, port.last);
    out += "]";
  }
  return out;
}

/// What pod 10.0.0.1 (a/web) may: "in ...; out ...".
std::string web(const std::vector<std::string>& specs) {
  net::NodePolicies all = node_policies(world(specs), "n", net::Family::V4);
  auto pod = all.pods.find(ip("10.0.0.1"));
  if (pod == all.pods.end()) return "open";
  std::string out;
  if (pod->second.ingress) out += "in " + text(all, *pod->second.ingress) + ";";
  if (pod->second.egress) out += "out " + text(all, *pod->second.egress) + ";";
  return out;
}

TEST_CASE("what policies mean for a pod") {
  struct Row {
    const char *name, *spec, *want;
  };
  auto row = GENERATE(values<Row>({
      {"of others", R"({"podSelector":{"matchLabels":{"app":"db"}},"policyTypes":["Ingress"]})", "open"},
      {"deny all in", R"({"podSelector":{},"policyTypes":["Ingress"]})", "in ;"},
      {"deny all, both ways", R"({"podSelector":{},"policyTypes":["Ingress","Egress"]})", "in ;out ;"},
      {"types by what is there", R"({"podSelector":{},"egress":[{}]})", "in ;out [any];"},
      {"allow all", R"({"podSelector":{},"policyTypes":["Ingress"],"ingress":[{}]})", "in [any];"},
      {"pods of the namespace",
       R"({"podSelector":{},"policyTypes":["Ingress"],"ingress":[{"from":[{"podSelector":{"matchLabels":{"app":"db"}}}]}]})",
       "in [10.0.0.2 ];"},
      {"a namespace",
       R"({"podSelector":{},"policyTypes":["Ingress"],"ingress":[{"from":[{"namespaceSelector":{"matchLabels":{"team":"blue"}}}]}]})",
       "in [10.0.1.1 10.0.1.2 ];"},
      {"pods of a namespace",
       R"({"podSelector":{},"policyTypes":["Ingress"],"ingress":[{"from":[{"namespaceSelector":{},"podSelector":{"matchLabels":{"app":"db"}}}]}]})",
       "in [10.0.0.2 10.0.1.2 ];"},
      {"either of two peers",
       R"({"podSelector":{},"policyTypes":["Ingress"],"ingress":[{"from":[{"podSelector":{"matchLabels":{"app":"db"}}},{"namespaceSelector":{"matchLabels":{"team":"blue"}}}]}]})",
       "in [10.0.0.2 10.0.1.1 10.0.1.2 ];"},
      {"a block",
       R"({"podSelector":{},"policyTypes":["Egress"],"egress":[{"to":[{"ipBlock":{"cidr":"10.0.0.0/30","except":["10.0.0.2/32"]}}]}]})",
       "out [10.0.0.0-10.0.0.1 10.0.0.3-10.0.0.3 ];"},
      {"blocks that overlap",
       R"({"podSelector":{},"policyTypes":["Egress"],"egress":[{"to":[{"ipBlock":{"cidr":"10.0.0.0/30"}},{"ipBlock":{"cidr":"10.0.0.2/31"}}]}]})",
       "out [10.0.0.0-10.0.0.3 ];"},
      {"ports",
       R"({"podSelector":{},"policyTypes":["Ingress"],"ingress":[{"ports":[{"port":80,"protocol":"TCP"},{"port":1000,"endPort":2000,"protocol":"UDP"},{"protocol":"SCTP"}]}]})",
       "in [any:tcp/80-80:udp/1000-2000:sctp/0-65535];"},
      {"a named port in",
       R"({"podSelector":{},"policyTypes":["Ingress"],"ingress":[{"ports":[{"port":"http","protocol":"TCP"}]}]})",
       "in [any:tcp/80-80];"},
      {"a name that it does not have",
       R"({"podSelector":{},"policyTypes":["Ingress"],"ingress":[{"ports":[{"port":"https","protocol":"TCP"}]}]})",
       "in ;"},
      {"a named port out, another at each peer",
       R"({"podSelector":{},"policyTypes":["Egress"],"egress":[{"to":[{"namespaceSelector":{}}],"ports":[{"port":"http","protocol":"TCP"}]}]})",
       "out [10.0.0.1 :tcp/80-80][10.0.1.1 :tcp/8080-8080];"},
  }));
  DYNAMIC_SECTION(row.name) { CHECK(web({row.spec}) == row.want); }
}

TEST_CASE("policies add up; those of other namespaces do not count") {
  const std::string kDeny = R"({"podSelector":{},"policyTypes":["Ingress"]})";
  const std::string kAllow =
      R"({"podSelector":{},"policyTypes":["Ingress"],"ingress":[{"from":[{"podSelector":{}}]}]})";
  CHECK(web({kDeny, kAllow}) == "in [10.0.0.1 10.0.0.2 ];");
  net::NodePolicies all = node_policies(world({kDeny}), "n", net::Family::V4);
  CHECK(all.pods.size() == 2);
  CHECK(node_policies(world({kDeny}), "other", net::Family::V4).pods.empty());
}

TEST_CASE("which pods count") {
  auto counts = [](const std::string& spec, const std::string& status) {
    auto pod = api::from_json<api::Pod>(fmt::format(R"({{"spec":{},"status":{}}})", spec, status));
    REQUIRE(pod.ok());
    return policy_pod(pod.value()).has_value();
  };
  CHECK(counts("{}", R"({"podIP":"10.0.0.1"})"));
  CHECK_FALSE(counts("{}", "{}"));
  CHECK_FALSE(counts("{}", R"({"podIP":"10.0.0.1","phase":"Succeeded"})"));
  CHECK_FALSE(counts(R"({"hostNetwork":true})", R"({"podIP":"10.0.0.1"})"));
}

TEST_CASE("each family has policies of its own") {
  PolicyView view = world({R"({"podSelector":{"matchLabels":{"app":"web"}},"ingress":[
      {"from":[{"podSelector":{"matchLabels":{"app":"db"}}}]},
      {"from":[{"ipBlock":{"cidr":"10.9.0.0/16"}},{"ipBlock":{"cidr":"fd09::/16","except":["fd09:8000::/17"]}}]}]})"});
  for (PolicyPod& pod : view.pods)
    pod.addresses.push_back({net::Family::V6, ip("fd00::").value + pod.addresses[0].value});
  net::NodePolicies v4 = node_policies(view, "n", net::Family::V4), v6 = node_policies(view, "n", net::Family::V6);
  REQUIRE(v4.pods.contains(ip("10.0.0.1")));
  REQUIRE(v6.pods.contains(ip("fd00::a00:1")));
  CHECK(v6.pods.size() == 1);
  CHECK(text(v4, *v4.pods.at(ip("10.0.0.1")).ingress).find("10.9.0.0-10.9.255.255") != std::string::npos);
  const std::string six = text(v6, *v6.pods.at(ip("fd00::a00:1")).ingress);
  INFO(six);
  CHECK(six.find("fd09::-fd09:7fff:ffff:ffff:ffff:ffff:ffff:ffff") != std::string::npos);
  CHECK(six.find("fd00::a00:2") != std::string::npos);
  CHECK(six.find("10.") == std::string::npos);
}

}  // namespace
}  // namespace skiff::proxy
