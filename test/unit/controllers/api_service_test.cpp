#include "api/gen/core.hpp"
#include "api/gen/service.hpp"
#include "controllers/kinds.hpp"
#include "support/test_cluster.hpp"

using namespace skiff;

TEST_CASE("Service kubernetes comes back with the address it had") {
  test::TestCluster<SystemClock> cluster;  // the address may be free only after a backoff
  cluster.create<api::Namespace>(R"({"metadata":{"name":"default"}})");
  auto keeper = controllers::api_service({cluster.client, cluster.informers, cluster.clock, cluster.random});
  cluster.create<api::Service>(R"({"metadata":{"name":"kubernetes","namespace":"default","labels":{"component":"apiserver"}},
    "spec":{"clusterIP":"10.96.0.1","ports":[{"port":443}]}})");
  cluster.create<api::Service>(R"({"metadata":{"name":"other","namespace":"default"},"spec":{"ports":[{"port":80}]}})");
  cluster.start<api::Service>();
  keeper->start();
  const std::string uid = cluster.client.get<api::Service>({"default", "kubernetes"}).value()->metadata.uid;
  for (const char* name : {"kubernetes", "other"})
    REQUIRE(cluster.client.remove<api::Service>({"default", name}).ok());
  REQUIRE(cluster.wait_for([&] { return cluster.client.get<api::Service>({"default", "kubernetes"}).ok(); }));
  auto service = cluster.client.get<api::Service>({"default", "kubernetes"}).value();
  CHECK(service->spec.clusterIP == "10.96.0.1");
  CHECK(service->metadata.labels.at("component") == "apiserver");
  CHECK(service->metadata.uid != uid);
  CHECK_FALSE(cluster.client.get<api::Service>({"default", "other"}).ok());
  cluster.informers.stop();
  keeper->stop();
}
