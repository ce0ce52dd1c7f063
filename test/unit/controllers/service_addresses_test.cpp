#include "api/gen/networking.hpp"
#include "api/gen/service.hpp"
#include "controllers/kinds.hpp"
#include "support/test_cluster.hpp"

using namespace skiff;

TEST_CASE("each address of a Service has its object, and nobody else's is touched") {
  test::TestCluster<SystemClock> cluster;
  cluster.create<api::Namespace>(R"({"metadata":{"name":"default"}})");
  auto keeper = controllers::service_addresses({cluster.client, cluster.informers, cluster.clock, cluster.random});
  auto service = [&](const std::string& name, const std::string& spec) {
    cluster.create<api::Service>(R"({"metadata":{"name":")" + name + R"(","namespace":"default"},"spec":{"ports":[{"port":80}],)" + spec + "}}");
  };
  service("early", R"("clusterIP":"10.96.0.7")");
  service("headless", R"("clusterIP":"None")");
  cluster.create<api::IPAddress>(R"({"metadata":{"name":"10.96.0.9"},"spec":{"parentRef":{"resource":"gateways","name":"mine"}}})");
  cluster.create<api::IPAddress>(R"({"metadata":{"name":"10.96.0.8","labels":{"ipaddress.kubernetes.io/managed-by":"ipallocator"}},
    "spec":{"parentRef":{"resource":"services","namespace":"default","name":"gone"}}})");
  cluster.start<api::Service, api::IPAddress>();
  keeper->start();
  auto parent_of = [&](const char* ip) {
    auto address = cluster.client.get<api::IPAddress>({"", ip});
    return address.ok() ? address.value()->spec.parentRef.namespace_ + "/" + address.value()->spec.parentRef.name : "";
  };
  CHECK(cluster.wait_for([&] { return parent_of("10.96.0.7") == "default/early"; }));
  auto made = cluster.client.get<api::IPAddress>({"", "10.96.0.7"}).value();
  CHECK(made->metadata.labels.at("ipaddress.kubernetes.io/ip-family") == "IPv4");
  CHECK(cluster.wait_for([&] { return parent_of("10.96.0.8").empty(); }));  // its Service is gone
  // The address changes hands.
  REQUIRE(cluster.client.remove<api::Service>({"default", "early"}).ok());
  CHECK(cluster.wait_for([&] { return parent_of("10.96.0.7").empty(); }));
  service("late", R"("clusterIP":"10.96.0.7")");
  CHECK(cluster.wait_for([&] { return parent_of("10.96.0.7") == "default/late"; }));
  CHECK(parent_of("10.96.0.9") == "/mine");
  CHECK(cluster.client.list<api::IPAddress>().value().size() == 2);
  cluster.informers.stop();
  keeper->stop();
}
