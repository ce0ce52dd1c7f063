// Claims and volumes: binding, provisioning, reclaiming, growing.

#include "support.hpp"

#include "api/gen/storage.hpp"
#include "controllers/volume_plan.hpp"

using namespace skiff;
using api::PersistentVolume;
using api::PersistentVolumeClaim;

namespace {

using Cluster = test::ControlledCluster<>;

std::string volume_json(const std::string& name, const std::string& more = "", const std::string& size = "1Gi") {
  return R"({"metadata":{"name":")" + name + R"("},"spec":{"capacity":{"storage":")" + size +
         R"("},"accessModes":["ReadWriteOnce"],"hostPath":{"path":"/data/)" + name + R"("})" + more + "}}";
}
std::string claim_json(const std::string& name, const std::string& more = "", const std::string& size = "1Gi") {
  return R"({"metadata":{"name":")" + name + R"("},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":")" +
         size + R"("}})" + more + "}}";
}
std::string class_json(const std::string& name, const std::string& more = "",
                       const std::string& provisioner = "skiff.dev/directory") {
  return R"({"metadata":{"name":")" + name + R"("},"provisioner":")" + provisioner + R"(","allowVolumeExpansion":true)" +
         more + "}";
}

bool claim_is(Cluster& cluster, const std::string& name, const std::string& phase, const std::string& volume = "") {
  return cluster.wait_for([&] {
    auto claim = cluster.get<PersistentVolumeClaim>(name);
    return claim && claim->status.phase == phase && claim->spec.volumeName == volume;
  });
}
bool volume_is(Cluster& cluster, const std::string& name, const std::string& phase) {
  return cluster.wait_for([&] {
    auto volume = cluster.get<PersistentVolume>(name);
    return volume && volume->status.phase == phase;
  });
}
bool sees_event(Cluster& cluster, const std::string& reason, const std::string& message) {
  return cluster.wait_for([&] { return cluster.has_event(reason, message); });
}

}  // namespace

TEST_CASE("the smallest volume that suits is taken") {
  auto volume = [](const std::string& json) {
    PersistentVolume one = api::from_json<PersistentVolume>(json).value();
    one.status.phase = "Available";
    return std::make_shared<const PersistentVolume>(one);
  };
  const std::vector<client::Ref<PersistentVolume>> volumes = {
      volume(volume_json("large", "", "10Gi")),
      volume(volume_json("small", "", "500Mi")),
      volume(volume_json("right", "", "2Gi")),
      volume(volume_json("classy", R"(,"storageClassName":"fast")", "1Gi")),
      volume(volume_json("raw", R"(,"volumeMode":"Block")", "1Gi")),
      volume(R"({"metadata":{"name":"labelled","labels":{"disk":"ssd"}},"spec":{"capacity":{"storage":"20Gi"},
                "accessModes":["ReadWriteOnce","ReadOnlyMany"],"hostPath":{"path":"/l"}}})"),
      volume(volume_json("reserved", R"(,"claimRef":{"namespace":"default","name":"mine"})", "30Gi"))};
  struct Row {
    const char* name;
    std::string claim;
    std::string want;
  };
  auto row = GENERATE_COPY(
      Row{"by size", claim_json("c"), "right"}, Row{"by class", claim_json("c", R"(,"storageClassName":"fast")"), "classy"},
      Row{"by mode", claim_json("c", R"(,"volumeMode":"Block")"), "raw"},
      Row{"by labels", claim_json("c", R"(,"selector":{"matchLabels":{"disk":"ssd"}})"), "labelled"},
      Row{"by reservation", claim_json("mine"), "reserved"}, Row{"too large", claim_json("c", "", "50Gi"), ""},
      Row{"of no such class", claim_json("c", R"(,"storageClassName":"none")"), ""});
  DYNAMIC_SECTION(row.name) {
    PersistentVolumeClaim claim = api::from_json<PersistentVolumeClaim>(row.claim).value();
    claim.metadata.namespace_ = "default";
    auto found = api::best_volume({.claim = claim}, volumes);
    CHECK((found ? found->metadata.name : "") == row.want);
  }
}

TEST_CASE("a claim and a volume find each other and part again") {
  Cluster cluster;
  cluster.create<PersistentVolumeClaim>(claim_json("c", R"(,"storageClassName":"")"));
  CHECK(sees_event(cluster, "FailedBinding",
                   "no persistent volumes available for this claim and no storage class is set"));
  cluster.create<PersistentVolume>(volume_json("v", R"(,"persistentVolumeReclaimPolicy":"Retain")", "2Gi"));
  REQUIRE(claim_is(cluster, "c", "Bound", "v"));
  REQUIRE(volume_is(cluster, "v", "Bound"));
  auto claim = cluster.get<PersistentVolumeClaim>("c");
  CHECK(claim->metadata.annotations.at("pv.kubernetes.io/bind-completed") == "yes");
  CHECK(claim->metadata.annotations.at("pv.kubernetes.io/bound-by-controller") == "yes");
  CHECK(claim->status.capacity.at("storage").text() == "2Gi");
  CHECK(claim->status.accessModes == std::vector<std::string>{"ReadWriteOnce"});
  CHECK(cluster.get<PersistentVolume>("v")->spec.claimRef->uid == claim->metadata.uid);
  CHECK(cluster.get<PersistentVolume>("v")->status.lastPhaseTransitionTime);

  REQUIRE(cluster.client.remove<PersistentVolumeClaim>({"default", "c"}).ok());
  REQUIRE(volume_is(cluster, "v", "Released"));
  // A person who takes the reference off makes it free again.
  REQUIRE(cluster.client.update_with_retry<PersistentVolume>({"", "v"}, [](PersistentVolume& next) {
    next.spec.claimRef.reset();
    return true;
  }).ok());
  CHECK(volume_is(cluster, "v", "Available"));
}

TEST_CASE("claims and volumes that name each other") {
  Cluster cluster;
  cluster.create<PersistentVolume>(volume_json("other", "", "1Gi"));
  cluster.create<PersistentVolume>(
      volume_json("mine", R"(,"claimRef":{"namespace":"default","name":"c","apiVersion":"v1","kind":"PersistentVolumeClaim"})", "5Gi"));
  cluster.create<PersistentVolumeClaim>(claim_json("c", R"(,"storageClassName":"")"));
  CHECK(claim_is(cluster, "c", "Bound", "mine"));
  cluster.create<PersistentVolumeClaim>(claim_json("named", R"(,"storageClassName":"","volumeName":"other")"));
  CHECK(claim_is(cluster, "named", "Bound", "other"));
  cluster.create<PersistentVolumeClaim>(claim_json("late", R"(,"storageClassName":"","volumeName":"other")"));
  CHECK(sees_event(cluster, "FailedBinding", "volume \"other\" already bound to a different claim."));
  cluster.create<PersistentVolume>(volume_json("tiny", "", "1Mi"));
  cluster.create<PersistentVolumeClaim>(claim_json("greedy", R"(,"storageClassName":"","volumeName":"tiny")"));
  CHECK(sees_event(cluster, "VolumeMismatch", "Cannot bind to requested volume \"tiny\": requested PV is too small"));
}

TEST_CASE("a claim whose volume is gone is lost") {
  Cluster cluster;
  cluster.create<PersistentVolume>(volume_json("v"));
  cluster.create<PersistentVolumeClaim>(claim_json("c", R"(,"storageClassName":"")"));
  REQUIRE(claim_is(cluster, "c", "Bound", "v"));
  REQUIRE(cluster.client.remove<PersistentVolume>({"", "v"}).ok());
  CHECK(cluster.get<PersistentVolume>("v"));  // it is protected while it is in use
  REQUIRE(cluster.client.update_with_retry<PersistentVolume>({"", "v"}, [](PersistentVolume& next) {
    next.metadata.finalizers.clear();
    return true;
  }).ok());
  CHECK(claim_is(cluster, "c", "Lost", "v"));
  CHECK(sees_event(cluster, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"));
}

TEST_CASE("the built-in provisioner makes a volume when a pod's node is chosen, and takes it back") {
  Cluster cluster;
  cluster.create<api::StorageClass>(class_json("standard", R"(,"volumeBindingMode":"WaitForFirstConsumer")"));
  cluster.create<PersistentVolumeClaim>(claim_json("c", R"(,"storageClassName":"standard")"));
  CHECK(sees_event(cluster, "WaitForFirstConsumer", "waiting for first consumer to be created before binding"));
  CHECK(cluster.get<PersistentVolumeClaim>("c")->status.phase == "Pending");
  REQUIRE(cluster.client.update_with_retry<PersistentVolumeClaim>({"default", "c"}, [](PersistentVolumeClaim& next) {
    next.metadata.annotations["volume.kubernetes.io/selected-node"] = "n";
    return true;
  }).ok());
  const std::string name = "pvc-" + cluster.get<PersistentVolumeClaim>("c")->metadata.uid;
  REQUIRE(claim_is(cluster, "c", "Bound", name));
  CHECK(sees_event(cluster, "ProvisioningSucceeded",
                   "Successfully provisioned volume " + name + " using skiff.dev/directory"));
  auto volume = cluster.get<PersistentVolume>(name);
  CHECK(volume->spec.hostPath->path == "/volumes/" + name);
  CHECK(volume->spec.persistentVolumeReclaimPolicy == "Delete");
  CHECK(volume->spec.storageClassName == "standard");
  CHECK(cluster.directories.has("/volumes/" + name));

  // Growing: the claim's wish becomes the volume's size.
  REQUIRE(cluster.client.update_with_retry<PersistentVolumeClaim>({"default", "c"}, [](PersistentVolumeClaim& next) {
    next.spec.resources.requests["storage"] = api::Quantity::parse("3Gi").value();
    return true;
  }).ok());
  CHECK(cluster.wait_for([&] {
    auto claim = cluster.get<PersistentVolumeClaim>("c");
    return claim->status.capacity.at("storage").text() == "3Gi" && claim->status.conditions.empty();
  }));
  CHECK(cluster.get<PersistentVolume>(name)->spec.capacity.at("storage").text() == "3Gi");
  CHECK(sees_event(cluster, "VolumeResizeSuccessful", "ExpandVolume succeeded for volume default/c"));

  REQUIRE(cluster.client.remove<PersistentVolumeClaim>({"default", "c"}).ok());
  CHECK(cluster.wait_for([&] { return !cluster.get<PersistentVolume>(name); }));
  CHECK_FALSE(cluster.directories.has("/volumes/" + name));
}

TEST_CASE("why no volume is made, in Kubernetes' words") {
  Cluster cluster;
  cluster.create<PersistentVolumeClaim>(claim_json("classless", R"(,"storageClassName":"later")"));
  CHECK(sees_event(cluster, "ProvisioningFailed", "storageclass.storage.k8s.io \"later\" not found"));
  cluster.create<api::StorageClass>(class_json("csi", "", "disk.example.com"));
  cluster.create<PersistentVolumeClaim>(claim_json("external", R"(,"storageClassName":"csi")"));
  CHECK(sees_event(cluster, "ExternalProvisioning",
                   "Waiting for a volume to be created either by the external provisioner 'disk.example.com' or manually by "
                   "the system administrator. If volume creation is delayed, please verify that the provisioner is running "
                   "and correctly registered."));
  CHECK(cluster.get<PersistentVolumeClaim>("external")->metadata.annotations.at(
            "volume.kubernetes.io/storage-provisioner") == "disk.example.com");
  cluster.create<api::StorageClass>(class_json("now"));
  cluster.create<PersistentVolumeClaim>(claim_json("raw", R"(,"storageClassName":"now","volumeMode":"Block")"));
  CHECK(sees_event(cluster, "ProvisioningFailed",
                   "Failed to provision volume with StorageClass \"now\": skiff.dev/directory does not support block volume "
                   "provisioning"));
  // The class that was missing comes.
  cluster.create<api::StorageClass>(class_json("later"));
  CHECK(claim_is(cluster, "classless", "Bound", "pvc-" + cluster.get<PersistentVolumeClaim>("classless")->metadata.uid));
}

TEST_CASE("a claim of a time without a default class gets it later") {
  Cluster cluster;
  cluster.create<PersistentVolumeClaim>(claim_json("c"));
  CHECK(sees_event(cluster, "FailedBinding",
                   "no persistent volumes available for this claim and no storage class is set"));
  std::string standard = class_json("standard");
  standard.replace(standard.find(R"("name")"), 6, R"("annotations":{"storageclass.kubernetes.io/is-default-class":"true"},"name")");
  cluster.create<api::StorageClass>(standard);
  CHECK(claim_is(cluster, "c", "Bound", "pvc-" + cluster.get<PersistentVolumeClaim>("c")->metadata.uid));
  CHECK(cluster.get<PersistentVolumeClaim>("c")->spec.storageClassName == "standard");
}

TEST_CASE("reclaim policies") {
  Cluster cluster;
  auto release = [&](const std::string& more) {
    cluster.create<PersistentVolume>(volume_json("v", more));
    cluster.create<PersistentVolumeClaim>(claim_json("c", R"(,"storageClassName":"")"));
    REQUIRE(claim_is(cluster, "c", "Bound", "v"));
    REQUIRE(cluster.client.remove<PersistentVolumeClaim>({"default", "c"}).ok());
  };
  SECTION("Recycle makes it available again") {
    release(R"(,"persistentVolumeReclaimPolicy":"Recycle")");
    CHECK(volume_is(cluster, "v", "Available"));
    CHECK_FALSE(cluster.get<PersistentVolume>("v")->spec.claimRef);
    CHECK(sees_event(cluster, "VolumeRecycled", "Volume recycled"));
  }
  SECTION("Delete fails for what skiff did not make") {
    release(R"(,"persistentVolumeReclaimPolicy":"Delete")");
    CHECK(volume_is(cluster, "v", "Failed"));
    const std::string why = "host_path deleter only supports /tmp/.+ but received provided /data/v";
    CHECK(cluster.get<PersistentVolume>("v")->status.message == why);
    CHECK(sees_event(cluster, "VolumeFailedDelete", why));
  }
}

TEST_CASE("ephemeral volumes get claims that belong to their pods") {
  Cluster cluster;
  api::Pod pod = cluster.create<api::Pod>(R"({"metadata":{"name":"p"},"spec":{
    "containers":[{"name":"c","image":"a"}],"volumes":[{"name":"scratch","ephemeral":{"volumeClaimTemplate":{
      "metadata":{"labels":{"kind":"scratch"}},
      "spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}}}]}})");
  REQUIRE(claim_is(cluster, "p-scratch", "Pending"));
  auto claim = cluster.get<PersistentVolumeClaim>("p-scratch");
  CHECK(claim->metadata.labels.at("kind") == "scratch");
  REQUIRE(claim->metadata.ownerReferences.size() == 1);
  CHECK(claim->metadata.ownerReferences[0].uid == pod.metadata.uid);
  CHECK(claim->metadata.ownerReferences[0].controller);
  REQUIRE(cluster.client.remove<api::Pod>({"default", "p"}, {.grace_seconds = 0}).ok());
  CHECK(cluster.wait_for([&] { return !cluster.get<PersistentVolumeClaim>("p-scratch"); }));
}
