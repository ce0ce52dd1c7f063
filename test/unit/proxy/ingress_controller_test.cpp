#include "proxy/ingress_controller.hpp"

#include "support/test_cluster.hpp"
#include "unit/net/world.hpp"

namespace skiff::proxy {
namespace {

using net::checked;
using net::ip;

/// An API, two nodes that run nothing, and the ingress. Every Service leads to pod "p" (which says "pod
/// ...").
struct IngressCluster : test::TestCluster<SystemClock> {
  net::World world;
  client::EventRecorder events{client, clock, random, "ingress"};
  client::AnyInformer certificates{client, clock, api::kind_of<api::Secret>(), {}};
  std::unique_ptr<net::HttpProxy> http =
      checked(net::HttpProxy::start(net::duplicate(world.nodes[0]), random));
  HttpFront front{*http};
  const net::Address address = ip("10.250.0.129");
  IngressController ingress{
      {client, informers, client::Informer<api::Secret>(certificates), events, clock, front},
      {.addresses = {address}, .listen = {ip("127.0.0.1")}}};

  IngressCluster() {
    create<api::Namespace>(R"({"metadata":{"name":"default"}})");
    checked(http->add_network("host", world.host));
    checked(http->add_network("n0", world.nodes[0], {net::Cidr{address, 32}}));
    ingress.add_node("n0");
    certificates.start();
    start<api::Ingress, api::IngressClass, api::Event>();
    ingress.start();
  }
  ~IngressCluster() {
    informers.stop();
    certificates.stop();
  }

  void make(const std::string& name, const std::string& spec) {
    create<api::Ingress>(R"({"metadata":{"namespace":"default","name":")" + name + R"("},"spec":{)" + spec +
                         R"("defaultBackend":{"service":{"name":"none","port":{"number":80}}}}})");
  }
  std::string status(const std::string& name) {
    auto found = get<api::Ingress>(name);
    return found && !found->status.loadBalancer.ingress.empty() ? found->status.loadBalancer.ingress[0].ip
                                                                : "";
  }
  bool told(const std::string& reason, const std::string& message) {
    return wait_for([&] {
      for (const auto& event : list<api::Event>())
        if (event->reason == reason && event->message.find(message) != std::string::npos) return true;
      return false;
    });
  }
  /// The first line of the answer to a request.
  std::string ask(const UniqueFd& network, net::Address at, std::uint16_t port = 80) {
    Result<UniqueFd> socket = net::dial_in(network, {at, port}, std::chrono::steady_clock::now() + 3s);
    if (!socket.ok()) return socket.error().message();
    checked(sys::write_all(socket.value(), "GET / HTTP/1.0\r\nHost: a\r\n\r\n", "ingress"));
    pollfd waiting{socket.value().get(), POLLIN, 0};
    if (::poll(&waiting, 1, 3000) <= 0) return "no answer";
    std::string answer = checked(sys::read_some(socket.value(), 4096, "ingress"));
    return answer.substr(0, answer.find('\r'));
  }
};

TEST_CASE("ports are open while there is an Ingress, and its status says where") {
  if (net::skip_without_root()) return;
  IngressCluster cluster;
  REQUIRE(cluster.ingress.wait_applied({}));
  CHECK(cluster.ask(cluster.world.host, ip("127.0.0.1")).ends_with("Connection refused"));
  cluster.make("one", "");
  REQUIRE(cluster.wait_for([&] { return cluster.status("one") == "10.250.0.129"; }));
  CHECK(cluster.told("Sync", "Scheduled for sync"));
  // Its Service does not exist.
  CHECK(cluster.ask(cluster.world.host, ip("127.0.0.1")) == "HTTP/1.1 503 Service Temporarily Unavailable");
  CHECK(cluster.ask(cluster.world.nodes[0], cluster.address) ==
        "HTTP/1.1 503 Service Temporarily Unavailable");

  // A class of somebody else: it is served no more, and says so.
  api::Ingress changed = *cluster.get<api::Ingress>("one");
  changed.spec.ingressClassName = "other";
  REQUIRE(cluster.client.update(changed).ok());
  REQUIRE(cluster.wait_for([&] { return cluster.status("one").empty(); }));
  REQUIRE(cluster.ingress.wait_applied({}));
  CHECK(cluster.ask(cluster.world.host, ip("127.0.0.1")).ends_with("Connection refused"));
}

TEST_CASE("a taken port is an event, and the other ways in work") {
  if (net::skip_without_root()) return;
  IngressCluster cluster;
  net::NamedServer squatter(cluster.world.host, "squatter", 80);
  cluster.make("one", "");
  CHECK(cluster.told(
      "PortUnavailable",
      "The ingress does not answer on 127.0.0.1:80 of host: another program has the port; it answers "
      "on 127.0.0.1:8080 instead, and on 10.250.0.129"));
  CHECK(cluster.ask(cluster.world.host, ip("127.0.0.1"), 8080) ==
        "HTTP/1.1 503 Service Temporarily Unavailable");
  CHECK(cluster.ask(cluster.world.nodes[0], cluster.address) ==
        "HTTP/1.1 503 Service Temporarily Unavailable");
}

TEST_CASE("certificates that are missing or broken are events") {
  if (net::skip_without_root()) return;
  IngressCluster cluster;
  cluster.create<api::Secret>(
      R"({"metadata":{"namespace":"default","name":"broken"},"type":"kubernetes.io/tls","data":{"tls.crt":"eA==","tls.key":"eA=="}})");
  cluster.make(
      "one",
      R"("tls":[{"hosts":["a.org"],"secretName":"missing"},{"hosts":["b.org"],"secretName":"broken"}],)");
  CHECK(cluster.told("CertificateUnavailable",
                     "Secret default/missing does not exist; the ingress' own certificate is used"));
  CHECK(cluster.told("CertificateUnavailable", "Secret default/broken: certificate"));
}

}  // namespace
}  // namespace skiff::proxy
