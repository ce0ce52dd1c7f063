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
  test::create_ready_node(cluster, R"({"metadata":{"name":"a"}})");
  test::create_ready_node(cluster, 
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

  test::create_ready_node(cluster, R"({"metadata":{"name":"c"}})");
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

TEST_CASE("a surging daemon set keeps the old pod until the new one serves") {
  ControlledCluster<> cluster;
  for (const char* name : {"a", "b"}) test::create_ready_node(cluster, R"({"metadata":{"name":")" + std::string(name) + R"("}})");
  api::DaemonSet daemons = api::from_json<api::DaemonSet>(
      set(R"("updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1,"maxUnavailable":0}},)")).value();
  daemons.spec.template_.metadata.labels["kubelet"] = "none";
  REQUIRE(cluster.client.create(daemons).ok());
  auto status = [&] { return cluster.get<api::DaemonSet>("s")->status; };
  auto ready_all = [&] {
    for (const auto& pod : cluster.list<api::Pod>("app=s")) cluster.make_ready(pod->metadata.name, true);
  };
  REQUIRE(cluster.wait_for([&] { return cluster.list<api::Pod>("app=s").size() == 2; }));
  ready_all();
  REQUIRE(cluster.wait_for([&] { return status().numberAvailable == 2; }));
  set_image<api::DaemonSet>(cluster, "a:2");
  REQUIRE(cluster.wait_for([&] { return cluster.list<api::Pod>("app=s").size() == 3; }));
  CHECK(status().numberAvailable == 2);
  // One more at a time, and nobody goes before the successor is ready.
  CHECK_FALSE(cluster.wait_for([&] { return cluster.list<api::Pod>("app=s").size() != 3; }, 200ms));
  ready_all();
  // The first node has changed over, and on the second the successor waits for its turn.
  REQUIRE(cluster.wait_for([&] {
    auto all = cluster.list<api::Pod>("app=s");
    auto updated = std::count_if(all.begin(), all.end(), [](const auto& pod) { return pod->spec.containers[0].image == "a:2"; });
    return all.size() == 3 && updated == 2;
  }));
  CHECK(cluster.wait_for([&] { return status().updatedNumberScheduled == 2 && status().numberAvailable == 2; }));
  CHECK(cluster.wait_for([&] {
    ready_all();
    return images(cluster) == std::set<std::string>{"a:2"} && cluster.list<api::Pod>("app=s").size() == 2;
  }));
}

TEST_CASE("ordinals start where the set says, and claims go by its policy") {
  ControlledCluster<> cluster;
  cluster.create<api::StatefulSet>(
      set(R"("replicas":2,"ordinals":{"start":5},"persistentVolumeClaimRetentionPolicy":{"whenScaled":"Delete","whenDeleted":"Delete"},
      "volumeClaimTemplates":[{"metadata":{"name":"data"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}],)"));
  REQUIRE(cluster.wait_for([&] { return cluster.get<api::StatefulSet>("s")->status.availableReplicas == 2; }));
  CHECK(cluster.get<api::Pod>("s-5"));
  CHECK(cluster.get<api::Pod>("s-6"));
  const std::string uid = cluster.get<api::StatefulSet>("s")->metadata.uid;
  CHECK(cluster.wait_for([&] {
    auto claim = cluster.get<api::PersistentVolumeClaim>("data-s-6");
    return claim && claim->metadata.ownerReferences.size() == 1 && claim->metadata.ownerReferences[0].uid == uid;
  }));
  REQUIRE(cluster.client.patch(api::kind_of<api::StatefulSet>(), {"default", "s"}, client::PatchType::Merge,
                               R"({"spec":{"replicas":1}})", "scale").ok());
  CHECK(cluster.wait_for([&] { return !cluster.get<api::PersistentVolumeClaim>("data-s-6"); }));
  CHECK(cluster.get<api::PersistentVolumeClaim>("data-s-5"));
  REQUIRE(cluster.client.remove<api::StatefulSet>({"default", "s"}, {.propagation = "Background"}).ok());
  CHECK(cluster.wait_for([&] { return cluster.list<api::PersistentVolumeClaim>().empty(); }));
}

TEST_CASE("several pods of a stateful set may be missing during an update") {
  ControlledCluster<> cluster;
  api::StatefulSet wide = api::from_json<api::StatefulSet>(
      set(R"("replicas":4,"podManagementPolicy":"Parallel","updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":2}},)")).value();
  wide.spec.template_.metadata.labels["kubelet"] = "none";
  REQUIRE(cluster.client.create(wide).ok());
  REQUIRE(cluster.wait_for([&] { return cluster.list<api::Pod>("app=s").size() == 4; }));
  for (const char* name : {"s-0", "s-1", "s-2", "s-3"}) cluster.make_ready(name, true);
  REQUIRE(cluster.wait_for([&] { return cluster.get<api::StatefulSet>("s")->status.availableReplicas == 4; }));
  set_image<api::StatefulSet>(cluster, "a:2");
  auto image = [&](const std::string& name) {
    auto pod = cluster.get<api::Pod>(name);
    return pod ? pod->spec.containers[0].image : "";
  };
  CHECK(cluster.wait_for([&] { return image("s-3") == "a:2" && image("s-2") == "a:2"; }));
  CHECK_FALSE(cluster.wait_for([&] { return image("s-1") == "a:2"; }, 200ms));
  cluster.make_ready("s-3", true);
  CHECK(cluster.wait_for([&] { return image("s-1") == "a:2"; }));
}
