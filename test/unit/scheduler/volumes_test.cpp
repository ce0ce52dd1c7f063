// Where pods with claims go.

#include "support.hpp"

#include "api/gen/storage.hpp"
#include "api/volumes.hpp"

using namespace skiff;
using api::PersistentVolume;
using api::PersistentVolumeClaim;
using test::node_json;
using test::pod_json;
using test::ScheduledCluster;

namespace {

std::string using_claim(const std::string& claim) {
  return R"("volumes":[{"name":"v","persistentVolumeClaim":{"claimName":")" + claim + R"("}}],)";
}
std::string claim_json(const std::string& name, const std::string& class_name, const std::string& mode = "ReadWriteOnce") {
  return R"({"metadata":{"name":")" + name + R"("},"spec":{"storageClassName":")" + class_name + R"(","accessModes":[")" +
         mode + R"("],"resources":{"requests":{"storage":"1Gi"}}}})";
}
std::string local_volume(const std::string& name, const std::string& node) {
  return R"({"metadata":{"name":")" + name + R"("},"spec":{"storageClassName":"local","capacity":{"storage":"5Gi"},
    "accessModes":["ReadWriteOnce"],"local":{"path":"/mnt"},"nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[
    {"key":"kubernetes.io/hostname","operator":"In","values":[")" + node + R"("]}]}]}}}})";
}

struct World : ScheduledCluster<> {
  World() {
    create<api::StorageClass>(R"({"metadata":{"name":"local"},"provisioner":"kubernetes.io/no-provisioner",
                                  "volumeBindingMode":"WaitForFirstConsumer"})");
    create<api::StorageClass>(R"({"metadata":{"name":"standard"},"provisioner":"skiff.dev/directory",
                                  "volumeBindingMode":"WaitForFirstConsumer"})");
    for (const char* name : {"a", "b"}) add_node(node_json(name));
  }
  // What the binder does.
  void finish_binding(const std::string& claim, const std::string& volume) {
    REQUIRE(client.update_with_retry<PersistentVolumeClaim>({"default", claim}, [&](PersistentVolumeClaim& next) {
      next.spec.volumeName = volume;
      next.metadata.annotations[api::kBindCompleted] = "yes";
      return true;
    }).ok());
  }
  void make_available(const std::string& volume) {
    REQUIRE(client.update_with_retry<PersistentVolume>({"", volume}, [](PersistentVolume& next) {
      next.status.phase = "Available";
      return true;
    }, true).ok());
  }
  void pass_backoff() {
    clock.wait_for_waiters(1);
    clock.advance(11s);
  }
};

const char* const kNotHelpful =
    " no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.";

}  // namespace

TEST_CASE("a pod waits for its claim in Kubernetes' words") {
  World world;
  world.create<api::Pod>(pod_json("p", "", using_claim("data")));
  CHECK(world.refusal("p") == "0/2 nodes are available: persistentvolumeclaim \"data\" not found." + std::string(kNotHelpful));
  world.create<PersistentVolumeClaim>(claim_json("data", ""));
  world.pass_backoff();
  CHECK(world.wait_for([&] {
    return world.refusal("p") ==
           "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims." + std::string(kNotHelpful);
  }));
}

TEST_CASE("a delayed claim is provisioned for the node of its pod, and the pod waits for it") {
  World world;
  world.create<PersistentVolumeClaim>(claim_json("data", "standard"));
  world.create<api::Pod>(pod_json("p", "", using_claim("data") + R"("nodeSelector":{"kubernetes.io/hostname":"b"},)"));
  REQUIRE(world.wait_for([&] {
    auto claim = world.get<PersistentVolumeClaim>("data");
    auto selected = claim->metadata.annotations.find(api::kSelectedNode);
    return selected != claim->metadata.annotations.end() && selected->second == "b";
  }));
  CHECK(world.node_of("p").empty());
  world.create<PersistentVolume>(R"({"metadata":{"name":"v"},"spec":{"capacity":{"storage":"1Gi"},
    "accessModes":["ReadWriteOnce"],"hostPath":{"path":"/v"}}})");
  world.finish_binding("data", "v");
  REQUIRE(world.is_placed("p"));
  CHECK(world.node_of("p") == "b");
}

TEST_CASE("a pod whose volume cannot be made looks for a node again") {
  World world;
  world.create<PersistentVolumeClaim>(claim_json("data", "standard"));
  world.create<api::Pod>(pod_json("p", "", using_claim("data")));
  auto selected = [&] {
    return world.get<PersistentVolumeClaim>("data")->metadata.annotations.contains(api::kSelectedNode);
  };
  REQUIRE(world.wait_for([&] { return selected(); }));
  REQUIRE(world.client.update_with_retry<PersistentVolumeClaim>({"default", "data"}, [](PersistentVolumeClaim& next) {
    next.metadata.annotations.erase(api::kSelectedNode);
    return true;
  }).ok());
  CHECK(world.refusal("p") == "running PreBind plugin \"VolumeBinding\": binding volumes: provisioning failed");
  world.pass_backoff();
  CHECK(world.wait_for([&] { return selected(); }));
}

TEST_CASE("a local volume draws its pod to its node, one volume a claim") {
  World world;
  world.create<PersistentVolume>(local_volume("v", "b"));
  world.make_available("v");
  for (const char* name : {"one", "two"}) world.create<PersistentVolumeClaim>(claim_json(name, "local"));
  world.create<api::Pod>(pod_json("p1", "", using_claim("one")));
  REQUIRE(world.wait_for([&] { return bool(world.get<PersistentVolume>("v")->spec.claimRef); }));
  CHECK(world.get<PersistentVolume>("v")->spec.claimRef->name == "one");
  world.create<api::Pod>(pod_json("p2", "", using_claim("two")));
  CHECK(world.refusal("p2") == "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind." +
                                   std::string(kNotHelpful));
  world.finish_binding("one", "v");
  REQUIRE(world.is_placed("p1"));
  CHECK(world.node_of("p1") == "b");

  // Whoever uses the bound claim later has to follow it.
  world.create<api::Pod>(pod_json("p3", "", using_claim("one") + R"("nodeSelector":{"kubernetes.io/hostname":"a"},)"));
  CHECK(world.refusal("p3") ==
        "0/2 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity, 1 node(s) didn't match Pod's "
        "node affinity/selector." + std::string(kNotHelpful));
}

TEST_CASE("a claim for one pod only, and zones of volumes") {
  World world;
  world.create<PersistentVolume>(R"({"metadata":{"name":"v"},"spec":{"capacity":{"storage":"1Gi"},
    "accessModes":["ReadWriteOncePod"],"hostPath":{"path":"/v"}}})");
  world.create<PersistentVolumeClaim>(claim_json("alone", "", "ReadWriteOncePod"));
  world.finish_binding("alone", "v");
  world.create<api::Pod>(pod_json("first", "", using_claim("alone")));
  REQUIRE(world.is_placed("first"));
  world.create<api::Pod>(pod_json("second", "", using_claim("alone")));
  CHECK(world.refusal("second") ==
        "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access "
        "mode. no new claims to deallocate, preemption: 0/2 nodes are available: 2 No preemption victims found for "
        "incoming pod.");

  world.create<PersistentVolume>(R"({"metadata":{"name":"zoned","labels":{"topology.kubernetes.io/zone":"z1__z2"}},
    "spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"hostPath":{"path":"/z"}}})");
  world.create<PersistentVolumeClaim>(claim_json("zoned", ""));
  world.finish_binding("zoned", "zoned");
  world.create<api::Pod>(pod_json("far", "", using_claim("zoned")));
  CHECK(world.refusal("far") == "0/2 nodes are available: 2 node(s) had no available volume zone." + std::string(kNotHelpful));
  world.add_node(R"({"metadata":{"name":"c","labels":{"topology.kubernetes.io/zone":"z2"}},
    "status":{"allocatable":{"cpu":"4","memory":"8Gi","pods":"110"}}})");
  world.pass_backoff();
  REQUIRE(world.is_placed("far"));
  CHECK(world.node_of("far") == "c");
}

TEST_CASE("a node takes only so many volumes of a driver") {
  World world;
  auto csi = [&](const std::string& name) {
    world.create<PersistentVolume>(R"({"metadata":{"name":")" + name + R"("},"spec":{"capacity":{"storage":"1Gi"},
      "accessModes":["ReadWriteOnce"],"csi":{"driver":"disk.example.com","volumeHandle":")" + name + R"("}}})");
    world.create<PersistentVolumeClaim>(claim_json(name, ""));
    world.finish_binding(name, name);
  };
  for (const char* node : {"a", "b"})
    world.create<api::CSINode>(R"({"metadata":{"name":")" + std::string(node) +
                               R"("},"spec":{"drivers":[{"name":"disk.example.com","nodeID":"x","allocatable":{"count":1}}]}})");
  for (const char* name : {"v1", "v2", "v3"}) csi(name);
  // Each kind has an informer of its own: the limits must be known before the pods are.
  REQUIRE(world.wait_for([&] { return world.informers.of<api::CSINode>().list().size() == 2; }));
  for (const char* name : {"v1", "v2"}) {
    world.create<api::Pod>(pod_json(name, "", using_claim(name)));
    REQUIRE(world.is_placed(name));
  }
  CHECK(world.node_of("v1") != world.node_of("v2"));
  world.create<api::Pod>(pod_json("v3", "", using_claim("v3")));
  CHECK(world.refusal("v3") == "0/2 nodes are available: 2 node(s) exceed max volume count. no new claims to deallocate, "
                               "preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.");
}
