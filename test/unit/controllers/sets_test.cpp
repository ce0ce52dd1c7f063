// DaemonSets and StatefulSets against a registry in memory.

#include "api/gen/nodes.hpp"
#include "api/gen/volume.hpp"
#include "controllers/revisions.hpp"
#include "support.hpp"

using namespace skiff;
using test::ControlledCluster;

namespace {

std::string set(const std::string& spec, const std::string& pod_spec = "") {
  return R"({"metadata":{"name":"s"},"spec":{)" + spec +
         R"("selector":{"matchLabels":{"app":"s"}},"template":{
      "metadata":{"labels":{"app":"s"}},"spec":{)" +
         pod_spec + R"("containers":[{"name":"c","image":"a:1"}]}}}})";
}

template <class T>
void set_image(ControlledCluster<>& cluster, const std::string& image) {
  REQUIRE(cluster.client
              .update_with_retry<T>({"default", "s"},
                                    [&](T& next) {
                                      next.spec.template_.spec.containers[0].image = image;
                                      return true;
                                    })
              .ok());
}

std::set<std::string> images(ControlledCluster<>& cluster) {
  std::set<std::string> all;
  for (const auto& pod : cluster.list<api::Pod>("app=s")) all.insert(pod->spec.containers[0].image);
  return all;
}

}  // namespace

TEST_CASE("a daemon set puts a pod on every node that fits") {
  ControlledCluster<> cluster;
  cluster.create<api::Node>(R"({"metadata":{"name":"a"}})");
  cluster.create<api::Node>(
      R"({"metadata":{"name":"b"},"spec":{"taints":[{"key":"k","effect":"NoSchedule"}]}})");
  cluster.create<api::DaemonSet>(set(""));
  auto status = [&] { return cluster.get<api::DaemonSet>("s")->status; };
  REQUIRE(cluster.wait_for([&] { return status().numberAvailable == 1; }));
  CHECK(status().desiredNumberScheduled == 1);
  CHECK(status().updatedNumberScheduled == 1);
  auto pods = cluster.list<api::Pod>("app=s");
  REQUIRE(pods.size() == 1);
  CHECK(pods[0]
            ->spec.affinity->nodeAffinity->requiredDuringSchedulingIgnoredDuringExecution->nodeSelectorTerms
            .at(0)
            .matchFields.at(0)
            .values == std::vector<std::string>{"a"});

  cluster.create<api::Node>(R"({"metadata":{"name":"c"}})");
  REQUIRE(cluster.wait_for([&] { return status().numberAvailable == 2; }));
  set_image<api::DaemonSet>(cluster, "a:2");
  REQUIRE(cluster.wait_for([&] {
    return images(cluster) == std::set<std::string>{"a:2"} && status().updatedNumberScheduled == 2 &&
           status().numberAvailable == 2;
  }));
  CHECK(cluster.list<api::ControllerRevision>().size() == 2);
}

TEST_CASE("a stateful set makes, updates and removes its pods in order") {
  ControlledCluster<> cluster;
  cluster.create<api::StatefulSet>(
      set(R"("serviceName":"svc","replicas":3,"volumeClaimTemplates":[{"metadata":
      {"name":"data"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}],)"));
  auto status = [&] { return cluster.get<api::StatefulSet>("s")->status; };
  REQUIRE(cluster.wait_for([&] { return status().availableReplicas == 3 && status().currentReplicas == 3; }));
  auto third = cluster.get<api::Pod>("s-2");
  REQUIRE(third);
  CHECK(third->spec.hostname == "s-2");
  CHECK(third->spec.subdomain == "svc");
  CHECK(third->metadata.labels.at("apps.kubernetes.io/pod-index") == "2");
  CHECK(client::revision_of(cluster.get<api::Pod>("s-0")->metadata) < client::revision_of(third->metadata));
  REQUIRE(cluster.get<api::PersistentVolumeClaim>("data-s-2"));
  CHECK(std::any_of(third->spec.volumes.begin(), third->spec.volumes.end(), [](const api::Volume& volume) {
    return volume.name == "data" && volume.persistentVolumeClaim->claimName == "data-s-2";
  }));

  set_image<api::StatefulSet>(cluster, "a:2");
  REQUIRE(cluster.wait_for([&] {
    return images(cluster) == std::set<std::string>{"a:2"} && status().updatedReplicas == 3 &&
           status().currentRevision == status().updateRevision && status().availableReplicas == 3;
  }));
  REQUIRE(cluster.client
              .patch(api::kind_of<api::StatefulSet>(), {"default", "s"}, client::PatchType::Merge,
                     R"({"spec":{"replicas":1}})", "scale")
              .ok());
  CHECK(cluster.wait_for(
      [&] { return cluster.list<api::Pod>("app=s").size() == 1 && cluster.get<api::Pod>("s-0"); }));
  CHECK(cluster.list<api::PersistentVolumeClaim>().size() == 3);
}

TEST_CASE("a pod that is not ready holds up those behind it, unless they are parallel") {
  ControlledCluster<> cluster;
  bool parallel = GENERATE(false, true);
  api::StatefulSet slow =
      api::from_json<api::StatefulSet>(
          set(std::string(R"("replicas":3,)") + (parallel ? R"("podManagementPolicy":"Parallel",)" : "")))
          .value();
  slow.spec.template_.metadata.labels["kubelet"] = "none";
  REQUIRE(cluster.client.create(slow).ok());
  size_t expected = parallel ? 3 : 1;
  REQUIRE(cluster.wait_for([&] { return cluster.list<api::Pod>("app=s").size() == expected; }));
  if (!parallel) {
    cluster.make_ready("s-0", true);
    REQUIRE(cluster.wait_for([&] { return cluster.get<api::Pod>("s-1") != nullptr; }));
    CHECK_FALSE(cluster.get<api::Pod>("s-2"));
  }
}

TEST_CASE("a partition keeps the lower pods on the old template") {
  ControlledCluster<> cluster;
  cluster.create<api::StatefulSet>(
      set(R"("replicas":3,"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"partition":2}},)"));
  REQUIRE(
      cluster.wait_for([&] { return cluster.get<api::StatefulSet>("s")->status.availableReplicas == 3; }));
  set_image<api::StatefulSet>(cluster, "a:2");
  auto image = [&](const std::string& pod) {
    auto found = cluster.get<api::Pod>(pod);
    return found ? found->spec.containers[0].image : "";
  };
  REQUIRE(cluster.wait_for([&] {
    return image("s-2") == "a:2" && cluster.get<api::StatefulSet>("s")->status.updatedReplicas == 1;
  }));
  REQUIRE(cluster.client.remove<api::Pod>({"default", "s-0"}).ok());
  CHECK(cluster.wait_for([&] { return image("s-0") == "a:1"; }));
  CHECK(image("s-1") == "a:1");
}

TEST_CASE("a revision holds its template") {
  api::PodTemplateSpec model;
  model.metadata.labels["a"] = "b";
  model.spec.containers.emplace_back().image = "x";
  api::ControllerRevision revision;
  revision.data.json = controllers::revision_data(model);
  CHECK(controllers::template_in(revision).value() == model);
}
