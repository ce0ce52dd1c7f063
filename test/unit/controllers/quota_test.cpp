#include "support.hpp"

#include "api/quota.hpp"

using namespace skiff;

namespace {

std::string used(test::ControlledCluster<>& cluster, const std::string& resource) {
  auto quota = cluster.get<api::ResourceQuota>("q");
  auto found = quota->status.used.find(resource);
  return found == quota->status.used.end() ? "" : found->second.text();
}

}  // namespace

TEST_CASE("what is there is counted, what ends or goes is not", "[quota]") {
  test::ControlledCluster<> cluster;
  cluster.create<api::Pod>(R"({"metadata":{"name":"p","namespace":"default"},"spec":{"containers":[
    {"name":"c","image":"i","resources":{"requests":{"cpu":"250m"}}}]}})");
  cluster.create<api::ConfigMap>(R"({"metadata":{"name":"m","namespace":"default"}})");
  cluster.create<api::ResourceQuota>(R"({"metadata":{"name":"q","namespace":"default"},
    "spec":{"hard":{"pods":"5","requests.cpu":"1","count/pods":"9","services.nodeports":"1"}}})");
  REQUIRE(cluster.wait_for([&] { return used(cluster, "pods") == "1"; }));
  CHECK(used(cluster, "requests.cpu") == "250m");
  CHECK(used(cluster, "services.nodeports") == "0");
  auto ended = cluster.client.update_with_retry<api::Pod>(
      {"default", "p"}, [](api::Pod& pod) { return pod.status.phase = "Succeeded", true; }, true);
  REQUIRE(ended.ok());
  REQUIRE(cluster.wait_for([&] { return used(cluster, "pods") == "0"; }));
  CHECK(used(cluster, "count/pods") == "1");
  REQUIRE(cluster.client.remove<api::Pod>({"default", "p"}, {.grace_seconds = 0}).ok());
  REQUIRE(cluster.wait_for([&] { return used(cluster, "count/pods") == "0"; }));
}

TEST_CASE("a claim in use outlives its deletion", "[protection]") {
  test::ControlledCluster<> cluster;
  cluster.create<api::PersistentVolumeClaim>(R"({"metadata":{"name":"data","namespace":"default"},"spec":{
    "accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}})");
  cluster.create<api::Pod>(R"({"metadata":{"name":"p","namespace":"default"},"spec":{"containers":[{"name":"c","image":"i"}],
    "volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"data"}}]}})");
  REQUIRE(cluster.client.remove<api::PersistentVolumeClaim>({"default", "data"}).ok());
  REQUIRE(cluster.get<api::PersistentVolumeClaim>("data"));
  REQUIRE(cluster.client.remove<api::Pod>({"default", "p"}, {.grace_seconds = 0}).ok());
  CHECK(cluster.wait_for([&] { return cluster.get<api::PersistentVolumeClaim>("data") == nullptr; }));
}

TEST_CASE("what objects use of quotas", "[quota]") {
  auto service = api::from_json<api::Service>(R"({"spec":{"type":"LoadBalancer","ports":[{"port":1},{"port":2}]}})").value();
  auto usage = api::quota_usage(api::kind_of<api::Service>(), &service, {});
  CHECK(usage.at("services.loadbalancers").text() == "1");
  CHECK(usage.at("services.nodeports").text() == "2");
  CHECK(usage.at("count/services").text() == "1");
  auto claim = api::from_json<api::PersistentVolumeClaim>(
                   R"({"spec":{"storageClassName":"fast","resources":{"requests":{"storage":"2Gi"}}}})")
                   .value();
  usage = api::quota_usage(api::kind_of<api::PersistentVolumeClaim>(), &claim, {});
  CHECK(usage.at("fast.storageclass.storage.k8s.io/requests.storage").text() == "2Gi");
  CHECK(usage.at("persistentvolumeclaims").text() == "1");
  CHECK(api::quota_counts(api::kind_of<api::Pod>(), "requests.nvidia.com/gpu"));
  CHECK_FALSE(api::quota_counts(api::kind_of<api::Service>(), "pods"));
}
