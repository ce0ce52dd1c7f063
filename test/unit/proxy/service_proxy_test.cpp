#include "proxy/service_proxy.hpp"

#include "proxy/dns_records.hpp"
#include "proxy/host_relays.hpp"
#include "proxy/load_balancers.hpp"
#include "support/test_cluster.hpp"
#include "unit/net/dns_client.hpp"
#include "unit/net/world.hpp"

namespace skiff::proxy {
namespace {

using net::ask;
using net::checked;
using net::ip;

/// An API, two nodes that run nothing, and all that the proxy room does for them.
struct ProxiedCluster : test::TestCluster<SystemClock> {
  net::World world;
  client::EventRecorder events{client, clock, random, "service-proxy"};
  DnsRecords records{informers, {.servers = {ip("10.96.0.10")}}};
  std::unique_ptr<net::DnsServer> dns = checked(net::DnsServer::start(
      world.host, {.addresses = {ip("10.96.0.10")}, .resolv_conf = "/nonexistent"}, records));
  std::unique_ptr<net::ServiceRules> rules[2];
  ServiceProxy proxy{informers, clock};
  std::unique_ptr<net::Relays> relays =
      checked(net::Relays::start(net::duplicate(world.host), net::duplicate(world.nodes[0])));
  HostRelays host_relays{{informers, events, clock, *relays},
                         {.listen = {ip("127.0.0.1")},
                          .node = world.host_network->node_addresses(0),
                          .balancers = {world.ranges.balancers()}}};
  LoadBalancers balancers{{client, informers, events, clock,
                           [this](const auto& wanted) {
                             std::map<net::Address, net::Address> nodes;
                             for (const auto& [address, name] : wanted)
                               nodes[address] = world.host_network->node_addresses(name == "n0" ? 0 : 1)[0];
                             return world.host_network->set_paths(nodes);
                           }},
                          {.ranges = {world.ranges.balancers()}, .reserved = {ip("10.250.0.129")}}};

  ProxiedCluster() {
    create<api::Namespace>(R"({"metadata":{"name":"default"}})");
    for (int i = 0; i < 2; ++i) {
      rules[i] = checked(
          net::ServiceRules::open(net::duplicate(world.nodes[i]), {.services = world.ranges.services,
                                                                   .balancers = world.ranges.balancers(),
                                                                   .pods = world.ranges.pods,
                                                                   .local = {ip("10.96.0.10")}}));
      proxy.add_node(fmt::format("n{}", i), {rules[i].get()});
      checked(dns->add_node(fmt::format("n{}", i), world.nodes[i]));
    }
    start<api::Service, api::EndpointSlice, api::Event>();
    proxy.start();
    host_relays.start();
    balancers.start();
  }
  ~ProxiedCluster() { informers.stop(); }

  void expose(net::Address backend) {
    create<api::Service>(R"({"metadata":{"namespace":"default","name":"web"},"spec":{"type":"NodePort",
        "clusterIP":"10.96.0.20","ports":[{"name":"http","port":80,"nodePort":30080}]}})");
    create<api::EndpointSlice>(R"({"metadata":{"namespace":"default","name":"web-1",
        "labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4","endpoints":[{"addresses":[")" +
                               backend.str() +
                               R"("]}],"ports":[{"name":"http","protocol":"TCP","port":8080}]})");
    auto informed = informers.of<api::EndpointSlice>();
    REQUIRE(wait_for([&] {
      return informed.get({"default", "web-1"}) && informers.of<api::Service>().get({"default", "web"});
    }));
    applied();
  }
  void applied() {
    REQUIRE(proxy.wait_applied({}));
    REQUIRE(host_relays.wait_applied({}));
  }
};

TEST_CASE("a Service of the API answers by address, name, node port and on the host") {
  if (net::skip_without_root()) return;
  ProxiedCluster cluster;
  net::TestPod client(cluster.world, 0, "client"), pod(cluster.world, 1, "pod");
  net::NamedServer server(pod.network, "pod", 8080);
  cluster.expose(pod.address);
  const net::Endpoint dns{ip("10.96.0.10"), 53};
  CHECK(net::dns_ask(client.network, dns, "web.default.svc.cluster.local") == "NoError 10.96.0.20");
  CHECK(net::dns_ask_stream(pod.network, dns, "web.default.svc.cluster.local") == "NoError 10.96.0.20");
  CHECK(net::dns_ask(cluster.world.host, dns, "web.default.svc.cluster.local") == "NoError 10.96.0.20");
  CHECK(net::dns_ask(client.network, dns, "example.org") == "ServerFailure");
  CHECK(ask(client.network, {ip("10.96.0.20"), 80}) == "pod " + client.address.str());
  CHECK(ask(pod.network, {ip("10.96.0.20"), 80}).starts_with("pod "));
  CHECK(ask(cluster.world.host, {ip("10.96.0.20"), 80}).starts_with("pod "));
  CHECK(ask(client.network, {cluster.world.host_network->node_addresses(1)[0], 30080}) ==
        "pod " + client.address.str());
  CHECK(ask(cluster.world.host, {ip("127.0.0.1"), 30080}).starts_with("pod "));

  REQUIRE(cluster.client.remove<api::Service>({"default", "web"}).ok());
  REQUIRE(cluster.wait_for([&] { return !cluster.informers.of<api::Service>().get({"default", "web"}); }));
  cluster.applied();
  CHECK(ask(client.network, {ip("10.96.0.20"), 80}).ends_with("Connection refused"));
  CHECK(ask(cluster.world.host, {ip("127.0.0.1"), 30080}).ends_with("Connection refused"));
}

TEST_CASE("a taken node port is an event, and nothing else fails") {
  if (net::skip_without_root()) return;
  ProxiedCluster cluster;
  net::TestPod pod(cluster.world, 0, "pod");
  net::NamedServer server(pod.network, "pod", 8080), squatter(cluster.world.host, "squatter", 30080);
  cluster.expose(pod.address);
  CHECK(cluster.wait_for([&] {
    for (const auto& event : cluster.list<api::Event>())
      if (event->reason == "NodePortUnavailable" && event->involvedObject.name == "web" &&
          event->message ==
              "Node port 30080 does not answer on 127.0.0.1 of the host: another program of the host has it")
        return true;
    return false;
  }));
  CHECK(ask(cluster.world.host, {cluster.world.host_network->node_addresses(0)[0], 30080}) == "pod 10.250.0.1");
}

TEST_CASE("a load balancer gets an address, answers on it and on the host, and gives it back") {
  if (net::skip_without_root()) return;
  ProxiedCluster cluster;
  net::TestPod client(cluster.world, 0, "client"), pod(cluster.world, 1, "pod");
  net::NamedServer server(pod.network, "pod", 8080);
  auto create = [&](const std::string& name, const std::string& spec) {
    cluster.create<api::Service>(R"({"metadata":{"namespace":"default","name":")" + name +
                                 R"("},"spec":{"type":"LoadBalancer","ports":[{"name":"http","port":80}])" +
                                 spec + "}}");
    cluster.create<api::EndpointSlice>(
        R"({"metadata":{"namespace":"default","name":")" + name +
        R"(-1","labels":{"kubernetes.io/service-name":")" + name +
        R"("}},"addressType":"IPv4","endpoints":[{"addresses":[")" + pod.address.str() +
        R"("],"nodeName":"n1"}],"ports":[{"name":"http","protocol":"TCP","port":8080}]})");
  };
  auto address_of = [&](const std::string& name) {
    auto service = cluster.informers.of<api::Service>().get({"default", name});
    return service && !service->status.loadBalancer.ingress.empty()
               ? service->status.loadBalancer.ingress[0].ip
               : std::string();
  };
  create("one", "");
  // The first to ask has the first address and the host's port: nobody else asks before it has them.
  REQUIRE(cluster.wait_for([&] { return ask(cluster.world.host, {ip("127.0.0.1"), 80}).starts_with("pod "); }));
  create("two", R"(,"loadBalancerIP":"10.250.0.200")");
  create("foreign", R"(,"loadBalancerClass":"example.com/other")");
  create("local", R"(,"externalTrafficPolicy":"Local")");
  REQUIRE(cluster.wait_for([&] {
    return !address_of("one").empty() && !address_of("two").empty() && !address_of("local").empty();
  }));
  cluster.applied();
  CHECK(address_of("one") == "10.250.0.130");
  CHECK(address_of("two") == "10.250.0.200");
  CHECK(address_of("foreign").empty());
  for (const char* name : {"one", "two"}) {
    net::Endpoint target{ip(address_of(name)), 80};
    CHECK(ask(client.network, target) == "pod " + client.address.str());
    CHECK(ask(cluster.world.host, target).starts_with("pod "));
  }
  CHECK(ask(cluster.world.host, {ip("127.0.0.1"), 80}).starts_with("pod "));
  // Its only pod is on the second node: packets are led there, and keep the host's address.
  CHECK(cluster.wait_for([&] {
    return ask(cluster.world.host, {ip(address_of("local")), 80}) == "pod 10.250.0.1";
  }));
  // Another wants the same port of the host: it is told who has it.
  CHECK(cluster.wait_for([&] {
    for (const auto& event : cluster.list<api::Event>())
      if (event->reason == "LoadBalancerPortUnavailable" && event->involvedObject.name == "two" &&
          event->message ==
              "Port 80 does not answer on 127.0.0.1 of the host: Service default/one has it; "
              "it answers on 10.250.0.200:80")
        return true;
    return false;
  }));

  // Changed in place, it loses its address.
  api::Service changed = *cluster.get<api::Service>("one");
  changed.spec.type = "ClusterIP";
  REQUIRE(cluster.client.update(changed).ok());
  REQUIRE(cluster.wait_for([&] { return address_of("one").empty(); }));
  cluster.applied();
  CHECK(ask(client.network, {ip("10.250.0.130"), 80}).ends_with("Connection refused"));
}

}  // namespace
}  // namespace skiff::proxy
