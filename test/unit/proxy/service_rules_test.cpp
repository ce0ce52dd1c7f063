#include "proxy/service_rules.hpp"

#include <catch2/catch.hpp>

#include "api/json.hpp"

namespace skiff::proxy {
namespace {

template <class T>
client::Ref<T> object(const std::string& json) {
  Result<T> parsed = api::from_json<T>(json);
  INFO(json);
  REQUIRE(parsed.ok());
  return std::make_shared<T>(std::move(parsed).value());
}

std::string text(const net::ServiceRule& rule) {
  std::string out = rule.id + " " + std::string(net::to_string(rule.protocol));
  for (const net::Frontend& frontend : rule.frontends)
    out += fmt::format(" {}:{}", frontend.address ? frontend.address->str() : "*", frontend.port);
  for (const net::Cidr& range : rule.sources) out += " <" + range.str();
  out += rule.affinity_seconds != 0 ? fmt::format(" ~{}s>", rule.affinity_seconds) : " ->";
  for (const net::Endpoint& backend : rule.backends) out += " " + backend.str();
  if (rule.outside) out += " outside";
  for (const net::Endpoint& backend : rule.outside.value_or(std::vector<net::Endpoint>{}))
    out += " " + backend.str();
  return out;
}

/// The rules of node "n1" for one service and two endpoints, one on each node.
std::vector<std::string> rules_for(const std::string& service_spec, const std::string& endpoints = "",
                                   const std::string& status = "{}") {
  const std::string kEndpoints =
      R"([{"addresses":["10.244.0.5"],"nodeName":"n1"},{"addresses":["10.244.1.5"],"nodeName":"n2"}])";
  auto service = object<api::Service>(R"({"metadata":{"namespace":"default","name":"web"},"spec":)" +
                                      service_spec + R"(,"status":)" + status + "}");
  Slices slices = {object<api::EndpointSlice>(
      R"({"metadata":{"namespace":"default","name":"web-1","labels":{"kubernetes.io/service-name":"web"}},
      "addressType":"IPv4","ports":[{"name":"http","protocol":"TCP","port":8080}],"endpoints":)" +
      (endpoints.empty() ? kEndpoints : endpoints) + "}")};
  std::vector<std::string> texts;
  for (const net::ServiceRule& rule : service_rules(*service, slices, {"n1", "z1"}))
    texts.push_back(text(rule));
  return texts;
}

const std::string kPorts = R"("ports":[{"name":"http","protocol":"TCP","port":80}])";
const std::string kBoth = "10.244.0.5:8080 10.244.1.5:8080";

TEST_CASE("services become rules") {
  using Texts = std::vector<std::string>;
  CHECK(rules_for(R"({"type":"ClusterIP","clusterIP":"10.96.0.20",)" + kPorts + "}") ==
        Texts{"default/web:80/TCP tcp 10.96.0.20:80 -> " + kBoth});
  CHECK(
      rules_for(
          R"({"type":"NodePort","clusterIP":"10.96.0.20","sessionAffinity":"ClientIP","externalIPs":["192.0.2.9","fd00::1"],
                  "ports":[{"name":"http","protocol":"TCP","port":80,"nodePort":30080}]})") ==
      Texts{"default/web:80/TCP tcp 10.96.0.20:80 192.0.2.9:80 *:30080 ~10800s> " + kBoth});
  CHECK(
      rules_for(
          R"({"type":"LoadBalancer","clusterIP":"10.96.0.20",)" + kPorts + "}", "",
          R"({"loadBalancer":{"ingress":[{"ip":"192.0.2.7","ipMode":"VIP"},{"ip":"192.0.2.8","ipMode":"Proxy"}]}})") ==
      Texts{"default/web:80/TCP tcp 10.96.0.20:80 192.0.2.7:80 -> " + kBoth});
  CHECK(rules_for(R"({"type":"ClusterIP","clusterIP":"None",)" + kPorts + "}") == Texts{});
  CHECK(rules_for(R"({"type":"ExternalName","externalName":"example.org"})") == Texts{});
  CHECK(
      rules_for(
          R"({"type":"ClusterIP","clusterIP":"10.96.0.20","ports":[{"name":"other","protocol":"TCP","port":81}]})") ==
      Texts{"default/web:81/TCP tcp 10.96.0.20:81 ->"});
  CHECK(
      rules_for(
          R"({"type":"ClusterIP","clusterIP":"10.96.0.20","ports":[{"name":"http","protocol":"UDP","port":80}]})") ==
      Texts{"default/web:80/UDP udp 10.96.0.20:80 ->"});
}

TEST_CASE("traffic policies keep to the node") {
  const std::string kNodePort = R"("ports":[{"name":"http","protocol":"TCP","port":80,"nodePort":30080}])";
  CHECK(rules_for(R"({"type":"NodePort","clusterIP":"10.96.0.20","externalTrafficPolicy":"Local",)" +
                  kNodePort + "}") ==
        std::vector<std::string>{
            "default/web:80/TCP tcp 10.96.0.20:80 -> " + kBoth,
            "default/web:80/TCP/external tcp *:30080 -> " + kBoth + " outside 10.244.0.5:8080"});
  CHECK(rules_for(R"({"type":"ClusterIP","clusterIP":"10.96.0.20","internalTrafficPolicy":"Local",)" +
                  kPorts + "}") ==
        std::vector<std::string>{"default/web:80/TCP tcp 10.96.0.20:80 -> 10.244.0.5:8080"});
}

TEST_CASE("load balancers: who is let in, and how long a client is remembered") {
  CHECK(rules_for(
            R"({"type":"LoadBalancer","clusterIP":"10.96.0.20","loadBalancerSourceRanges":["192.0.2.0/24"],
                  "sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":7}},)" +
                kPorts + "}",
            "", R"({"loadBalancer":{"ingress":[{"ip":"192.0.2.7"}]}})") ==
        std::vector<std::string>{"default/web:80/TCP tcp 10.96.0.20:80 ~7s> " + kBoth,
                                 "default/web:80/TCP/balancer tcp 192.0.2.7:80 <192.0.2.0/24 ~7s> " + kBoth});
}

TEST_CASE("hints prefer what is near, if they are whole") {
  auto backends = [](const std::string& one, const std::string& two) {
    std::string rule =
        rules_for(
            R"({"type":"ClusterIP","clusterIP":"10.96.0.20",)" + kPorts + "}",
            fmt::format(R"([{{"addresses":["10.244.0.5"]{}}},{{"addresses":["10.244.1.5"]{}}}])", one, two))
            .at(0);
    return rule.substr(rule.find("-> ") + 3);
  };
  const std::string kZone1 = R"(,"hints":{"forZones":[{"name":"z1"}]})",
                    kZone2 = R"(,"hints":{"forZones":[{"name":"z2"}]})";
  CHECK(backends(kZone1, kZone2) == "10.244.0.5:8080");
  CHECK(backends(kZone1, "") == kBoth);
  CHECK(backends(kZone2, kZone2) == kBoth);
  CHECK(backends(kZone1, R"(,"hints":{"forZones":[{"name":"z1"}],"forNodes":[{"name":"n1"}]})") == kBoth);
  CHECK(backends(R"(,"hints":{"forNodes":[{"name":"n2"}]})", R"(,"hints":{"forNodes":[{"name":"n1"}]})") ==
        "10.244.1.5:8080");
}

TEST_CASE("which endpoints are used") {
  auto backends = [](const std::string& endpoints) {
    std::string rule =
        rules_for(R"({"type":"ClusterIP","clusterIP":"10.96.0.20",)" + kPorts + "}", endpoints).at(0);
    return rule.substr(rule.find("->"));
  };
  const char* kReady =
      R"({"addresses":["10.244.0.1"],"conditions":{"ready":true,"serving":true,"terminating":false}})";
  const char* kNotReady =
      R"({"addresses":["10.244.0.2"],"conditions":{"ready":false,"serving":false,"terminating":false}})";
  const char* kEnding =
      R"({"addresses":["10.244.0.3"],"conditions":{"ready":false,"serving":true,"terminating":true}})";
  CHECK(backends(fmt::format("[{},{},{}]", kReady, kNotReady, kEnding)) == "-> 10.244.0.1:8080");
  CHECK(backends(fmt::format("[{},{}]", kNotReady, kEnding)) == "-> 10.244.0.3:8080");
  CHECK(backends(fmt::format("[{}]", kNotReady)) == "->");
  CHECK(backends(fmt::format("[{0},{0}]", kReady)) == "-> 10.244.0.1:8080");
}

TEST_CASE("hostPorts of the node's running pods") {
  auto pod = [](const std::string& node, const std::string& phase, const std::string& port) {
    return object<api::Pod>(fmt::format(
        R"({{"metadata":{{"name":"p","uid":"u-{0}"}},"spec":{{"nodeName":"{0}","containers":[{{"name":"c","ports":[{2}]}}]}},
        "status":{{"phase":"{1}","podIP":"10.244.0.9"}}}})",
        node, phase, port));
  };
  const std::string kPort = R"({"containerPort":80,"hostPort":8000,"protocol":"TCP"})";
  std::vector<client::Ref<api::Pod>> pods = {
      pod("n1", "Running", kPort), pod("n2", "Running", kPort), pod("n1", "Succeeded", kPort),
      pod("n1", "Running", R"({"containerPort":53,"hostPort":53,"hostIP":"192.0.2.1","protocol":"UDP"})"),
      pod("n1", "Running", R"({"containerPort":53,"hostPort":54,"hostIP":"127.0.0.1","protocol":"UDP"})")};
  std::vector<std::string> texts;
  for (const client::Ref<api::Pod>& one : pods)
    for (const net::ServiceRule& rule : host_port_rules(*one, {"n1", "", net::Family::V4})) texts.push_back(text(rule));
  CHECK(texts ==
        std::vector<std::string>{"hostport/u-n1/:8000/TCP tcp *:8000 -> 10.244.0.9:80",
                                 "hostport/u-n1/192.0.2.1:53/UDP udp 192.0.2.1:53 -> 10.244.0.9:53"});
}

TEST_CASE("source ranges within others are left out: the kernel takes none that overlap") {
  auto service = object<api::Service>(
      R"({"spec":{"loadBalancerSourceRanges":["10.1.0.0/16","192.0.2.0/24"," 10.0.0.0/8 ","10.1.2.3/32","10.0.0.0/8"]}})");
  std::string text;
  for (const net::Cidr& range : balancer_sources(*service, net::Family::V4)) text += range.str() + " ";
  CHECK(text == "10.0.0.0/8 192.0.2.0/24 ");
}

TEST_CASE("each family has rules of its own") {
  auto service = object<api::Service>(
      R"({"metadata":{"namespace":"default","name":"web"},"spec":{"type":"LoadBalancer","clusterIP":"10.96.0.20",
          "clusterIPs":["10.96.0.20","fd00:96::20"],"ipFamilies":["IPv4","IPv6"],"externalIPs":["192.0.2.9","2001:db8::9"],
          "loadBalancerSourceRanges":["2001:db8::/32"],
          "ports":[{"name":"http","protocol":"TCP","port":80,"nodePort":30080}]},
          "status":{"loadBalancer":{"ingress":[{"ip":"10.243.8.1"},{"ip":"fd00:243::8:1"}]}}})");
  auto slice = [](const char* family, const char* address) {
    return object<api::EndpointSlice>(fmt::format(
        R"({{"metadata":{{"namespace":"default","name":"web-{0}","labels":{{"kubernetes.io/service-name":"web"}}}},
            "addressType":"{0}","ports":[{{"name":"http","protocol":"TCP","port":8080}}],
            "endpoints":[{{"addresses":["{1}"],"nodeName":"n1"}}]}})",
        family, address));
  };
  Slices slices = {slice("IPv4", "10.244.0.5"), slice("IPv6", "fd00:244::5")};
  auto rules_of = [&](net::Family family) {
    std::vector<std::string> texts;
    for (const net::ServiceRule& rule : service_rules(*service, slices, {"n1", "", family})) texts.push_back(text(rule));
    return texts;
  };
  using Texts = std::vector<std::string>;
  // Whom ranges of the other family alone let in is nobody of this one.
  CHECK(rules_of(net::Family::V4) ==
        Texts{"default/web:80/TCP tcp 10.96.0.20:80 192.0.2.9:80 *:30080 -> 10.244.0.5:8080",
              "default/web:80/TCP/balancer tcp 10.243.8.1:80 <0.0.0.0/32 -> 10.244.0.5:8080"});
  CHECK(rules_of(net::Family::V6) ==
        Texts{"default/web:80/TCP tcp fd00:96::20:80 2001:db8::9:80 *:30080 -> [fd00:244::5]:8080",
              "default/web:80/TCP/balancer tcp fd00:243::8:1:80 <2001:db8::/32 -> [fd00:244::5]:8080"});
  CHECK(port_endpoints(*service, slices, service->spec.ports[0]).front().str() == "10.244.0.5:8080");
  CHECK(local_endpoints(slices, "n1") == 1);
  auto pod = object<api::Pod>(
      R"({"metadata":{"uid":"u"},"spec":{"nodeName":"n1","containers":[{"name":"c","ports":[
          {"containerPort":80,"hostPort":8080,"protocol":"TCP"},
          {"containerPort":80,"hostPort":8081,"hostIP":"fd00:243::2","protocol":"TCP"},
          {"containerPort":80,"hostPort":8082,"hostIP":"::1","protocol":"TCP"}]}]},
          "status":{"podIP":"10.244.0.5","podIPs":[{"ip":"10.244.0.5"},{"ip":"fd00:244::5"}]}})");
  auto ports_of = [&](net::Family family) {
    std::vector<std::string> texts;
    for (const net::ServiceRule& rule : host_port_rules(*pod, {"n1", "", family})) texts.push_back(text(rule));
    return texts;
  };
  CHECK(ports_of(net::Family::V4) == Texts{"hostport/u/:8080/TCP tcp *:8080 -> 10.244.0.5:80"});
  CHECK(ports_of(net::Family::V6) == Texts{"hostport/u/:8080/TCP tcp *:8080 -> [fd00:244::5]:80",
                                           "hostport/u/fd00:243::2:8081/TCP tcp fd00:243::2:8081 -> [fd00:244::5]:80"});
}

}  // namespace
}  // namespace skiff::proxy
