// Volumes of pods: what claims, sub paths and fsGroup come to.

#include <sys/stat.h>
#include <unistd.h>

#include "api/gen/volume.hpp"
#include "kubelet/claims.hpp"
#include "kubelet/ownership.hpp"
#include "kubelet/sub_path.hpp"
#include "test_kubelet.hpp"

namespace skiff::kubelet {
namespace {

class Scratch {
 public:
  Scratch() {
    char name[] = "/tmp/skiff-volumes-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Scratch() { CHECK(sys::remove_tree(path).ok()); }
  std::string path;
};

mode_t mode_of(const std::string& path) { return sys::stat_of(path).value().st_mode & 07777; }
gid_t group_of(const std::string& path) { return sys::stat_of(path).value().st_gid; }

/// A bound pair: volume "v" at `path`, claim "data".
void make_bound(TestKubelet& test, const std::string& source, const std::string& more = "") {
  test.cluster.create<api::PersistentVolumeClaim>(
      R"({"metadata":{"name":"data","namespace":"default"},"spec":{"accessModes":["ReadWriteOnce"],"volumeName":"v","storageClassName":"","resources":{"requests":{"storage":"1Mi"}})" +
      more + "}}");
  client::Ref<api::PersistentVolumeClaim> claim = test.cluster.get<api::PersistentVolumeClaim>("data");
  test.cluster.create<api::PersistentVolume>(fmt::format(
      R"({{"metadata":{{"name":"v"}},"spec":{{"capacity":{{"storage":"1Mi"}},"accessModes":["ReadWriteOnce"],"claimRef":{{"namespace":"default","name":"data","uid":"{}"}},{}{}}}}})",
      claim->metadata.uid, source, more));
}

void bind(TestKubelet& test) {
  REQUIRE(test.cluster.client
              .update_with_retry<api::PersistentVolumeClaim>(
                  {"default", "data"},
                  [](api::PersistentVolumeClaim& claim) {
                    claim.status.phase = "Bound";
                    return true;
                  },
                  true)
              .ok());
}

constexpr const char* kMount = R"(,"volumeMounts":[{"name":"d","mountPath":"/data"}])";
constexpr const char* kClaim = R"(,"volumes":[{"name":"d","persistentVolumeClaim":{"claimName":"data"}}])";

}  // namespace

TEST_CASE("a pod waits for its claim, then writes to the volume behind it") {
  if (skip_without_root()) return;
  Scratch scratch;
  TestKubelet test;
  test.create("echo kept > /data/file; sleep 1000", kMount, kClaim);
  CHECK(test.wait_event("FailedMount",
                        "Unable to attach or mount volumes: unmounted volumes=[d], unattached volumes=[], failed to "
                        "process volumes=[d]: error processing PVC default/data: failed to fetch PVC from API server: "
                        "persistentvolumeclaims \"data\" not found"));
  make_bound(test, R"("hostPath":{"path":")" + scratch.path + R"("})");
  CHECK(test.wait_event("FailedMount", "error processing PVC default/data: PVC is not bound"));
  bind(test);
  REQUIRE(test.wait_ready());
  REQUIRE(test.cluster.wait_for([&] { return sys::exists(scratch.path + "/file"); }));
  test.remove();
  REQUIRE(test.wait_gone());
  CHECK(sys::read_file(scratch.path + "/file").value() == "kept\n");  // data of a claim outlives its pods
}

TEST_CASE("a volume that no container mounts is left alone, whatever is wrong with it") {
  if (skip_without_root()) return;
  TestKubelet test;
  test.create("sleep 1000", "", R"(,"volumes":[{"name":"d","nfs":{"server":"no.such.server","path":"/"}}])");
  CHECK(test.wait_ready());
}

TEST_CASE("fsGroup owns a local volume, a claim may be read-only") {
  if (skip_without_root()) return;
  Scratch scratch;
  REQUIRE(sys::make_directory(scratch.path + "/sub", 0700).ok());
  REQUIRE(sys::write_file(scratch.path + "/sub/file", "x", 0600).ok());
  TestKubelet test;
  make_bound(test,
             R"("nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":["node-1"]}]}]}},"local":{"path":")" +
                 scratch.path + R"("})");
  bind(test);
  test.create("touch /data/no || echo refused; sleep 1000", kMount,
              R"(,"securityContext":{"runAsUser":1000,"fsGroup":2000},"volumes":[{"name":"d","persistentVolumeClaim":{"claimName":"data","readOnly":true}}])");
  REQUIRE(test.wait_ready());
  CHECK(group_of(scratch.path + "/sub/file") == 2000);
  CHECK(mode_of(scratch.path + "/sub/file") == 0660);
  CHECK(mode_of(scratch.path + "/sub") == 02770);
  CHECK(test.run({"cat", "/data/sub/file"}).first == "x");
  CHECK(test.cluster.wait_for([&] { return test.logs().find("refused") != std::string::npos; }));
}

TEST_CASE("a raw claim is a block device in the container and goes with the pod") {
  if (skip_without_root() || !sys::exists("/dev/loop-control")) return;
  Scratch scratch;
  TestKubelet test;
  make_bound(test, R"("hostPath":{"path":")" + scratch.path + R"("})", R"(,"volumeMode":"Block")");
  bind(test);
  test.create("test -b /dev/xvda && echo block; sleep 1000", R"(,"volumeDevices":[{"name":"d","devicePath":"/dev/xvda"}])",
              kClaim);
  REQUIRE(test.wait_ready());
  CHECK(test.cluster.wait_for([&] { return test.logs() == "block\n"; }));
  CHECK(test.run({"sh", "-c", "echo raw > /dev/xvda"}).second == 0);
  std::string devices = test.node_spec.directory + "/pods/" + test.pod()->metadata.uid + "/devices/d";
  std::string device = sys::read_link(devices).value();
  CHECK(sys::exists("/sys/block/" + device.substr(5) + "/loop/backing_file"));
  test.remove();
  REQUIRE(test.wait_gone());
  CHECK_FALSE(sys::exists("/sys/block/" + device.substr(5) + "/loop/backing_file"));
  CHECK(sys::read_file(scratch.path + "/block.img").value().starts_with("raw"));
}

TEST_CASE("sub paths are made when missing and never lead out of the volume") {
  Scratch scratch;
  std::string volume = scratch.path + "/volume";
  REQUIRE(sys::make_directory(volume).ok());
  REQUIRE(::chmod(volume.c_str(), 0770) == 0);
  REQUIRE(sys::make_directory(scratch.path + "/outside").ok());
  auto prepare = [&](const std::string& path) {
    Status prepared = prepare_sub_path({volume, path, "m", "c"});
    return prepared.ok() ? std::string("ok") : prepared.error().message();
  };
  CHECK(prepare("a/b") == "ok");
  CHECK(mode_of(volume + "/a/b") == 0770);  // as the volume itself, whatever the umask
  CHECK(prepare("a/b") == "ok");
  CHECK(prepare("/a") == "error SubPath `/a` must not be an absolute path");
  CHECK(prepare("a/../../outside") == "unable to provision SubPath `a/../../outside`: must not contain '..'");
  REQUIRE(sys::symlink("../outside", volume + "/out").ok());
  REQUIRE(sys::symlink("/etc", volume + "/absolute").ok());
  REQUIRE(sys::symlink("a", volume + "/inside").ok());
  CHECK(prepare("out") == "failed to prepare subPath for volumeMount \"m\" of container \"c\"");
  CHECK(prepare("absolute/x") == "failed to prepare subPath for volumeMount \"m\" of container \"c\"");
  CHECK(prepare("out/new") == "failed to prepare subPath for volumeMount \"m\" of container \"c\"");
  CHECK_FALSE(sys::exists(scratch.path + "/outside/new"));
  CHECK(prepare("inside/c") == "ok");
  CHECK(sys::exists(volume + "/a/c"));
}

TEST_CASE("a container with a sub path outside its volume waits and says so") {
  if (skip_without_root()) return;
  TestKubelet test;
  test.create("sleep 1000", R"(,"volumeMounts":[{"name":"d","mountPath":"/data","subPath":"out"}])",
              fmt::format(R"(,"initContainers":[{}],"volumes":[{{"name":"d","emptyDir":{{}}}}])",
                          TestKubelet::container("i", "ln -s / /data/out || busybox ln -s / /data/out", kMount)));
  REQUIRE(test.wait_waiting("CreateContainerConfigError"));
  CHECK(test.wait_event("Failed", "failed to prepare subPath for volumeMount \"d\" of container \"c\""));
}

TEST_CASE("subPathExpr needs a value for every variable") {
  if (skip_without_root()) return;
  TestKubelet test;
  SECTION("with one") {
    test.create("ls /data; sleep 1000",
                R"x(,"env":[{"name":"WHO","value":"me"}],"volumeMounts":[{"name":"d","mountPath":"/data","subPathExpr":"logs/$(WHO)"}])x",
                R"(,"volumes":[{"name":"d","emptyDir":{}}])");
    REQUIRE(test.wait_ready());
    std::string made = test.node_spec.directory + "/pods/" + test.pod()->metadata.uid + "/volumes/d/logs/me";
    CHECK(sys::exists(made));
  }
  SECTION("without") {
    test.create("true", R"x(,"volumeMounts":[{"name":"d","mountPath":"/data","subPathExpr":"$(NOBODY)"}])x",
                R"(,"volumes":[{"name":"d","emptyDir":{}}])");
    REQUIRE(test.wait_waiting("CreateContainerConfigError"));
    CHECK(test.pod()->status.containerStatuses[0].state.waiting->message == "missing value for NOBODY");
  }
}

TEST_CASE("an image is a read-only volume") {
  if (skip_without_root()) return;
  TestKubelet test;
  test.create("cat /image/etc/passwd; touch /image/x || echo refused; sleep 1000",
              R"(,"volumeMounts":[{"name":"i","mountPath":"/image"},{"name":"i","mountPath":"/etc/part","subPath":"etc"}])",
              R"(,"volumes":[{"name":"i","image":{"reference":"busybox:1","pullPolicy":"IfNotPresent"}}])");
  REQUIRE(test.wait_ready());
  CHECK(test.cluster.wait_for([&] { return test.logs().find("refused") != std::string::npos; }));
  CHECK(test.logs().find("root:x:0:0") != std::string::npos);
  CHECK(test.run({"cat", "/etc/part/passwd"}).first == "root:x:0:0::/root:/bin/sh\n");
  const auto& mounts = test.pod()->status.containerStatuses[0].volumeMounts;
  REQUIRE_FALSE(mounts.empty());
  REQUIRE(mounts[0].volumeStatus);
  CHECK(mounts[0].volumeStatus->image->imageRef.starts_with("sha256:"));
}

TEST_CASE("fsGroup changes links and not what they point at, and can trust the root") {
  Scratch scratch;
  if (::geteuid() != 0) return;
  std::string volume = scratch.path + "/volume", outside = scratch.path + "/outside";
  REQUIRE(sys::make_directory(volume).ok());
  REQUIRE(sys::write_file(outside, "x", 0600).ok());
  REQUIRE(sys::write_file(volume + "/file", "x", 0600).ok());
  REQUIRE(sys::symlink("../outside", volume + "/link").ok());
  REQUIRE(give_to_group(volume, {.group = 4000}).ok());
  CHECK(mode_of(volume) == 02775);
  CHECK(group_of(volume + "/file") == 4000);
  CHECK(mode_of(outside) == 0600);
  CHECK(group_of(outside) == ::getegid());
  REQUIRE(::chown((volume + "/file").c_str(), 0, 0) == 0);
  REQUIRE(give_to_group(volume, {.group = 4000, .only_on_mismatch = true}).ok());
  CHECK(group_of(volume + "/file") == 0);  // the root matches, so it is taken to be done
  REQUIRE(give_to_group(volume, {.group = 4000}).ok());
  CHECK(group_of(volume + "/file") == 4000);
}

TEST_CASE("the size of a volume in memory is the smallest limit there is") {
  api::Pod pod;
  api::EmptyDirVolumeSource source;
  FieldSource fields{pod, {}, {}, {}};
  CHECK(memory_volume_bytes(source, fields) == 0);
  fields.allocatable["memory"] = api::Quantity::of_bytes(4 << 20);
  CHECK(memory_volume_bytes(source, fields) == 4 << 20);
  pod.spec.containers.resize(2);
  pod.spec.containers[0].resources.limits["memory"] = api::Quantity::of_bytes(1 << 20);
  CHECK(memory_volume_bytes(source, fields) == 4 << 20);  // the other container has no limit
  pod.spec.containers[1].resources.limits["memory"] = api::Quantity::of_bytes(1 << 20);
  CHECK(memory_volume_bytes(source, fields) == 2 << 20);
  source.sizeLimit = api::Quantity::of_bytes(1 << 16);
  CHECK(memory_volume_bytes(source, fields) == 1 << 16);
}

TEST_CASE("claims of pods by name") {
  api::Pod pod;
  pod.metadata.name = "p";
  pod.metadata.namespace_ = "n";
  pod.spec.volumes.resize(3);
  pod.spec.volumes[0].name = "a";
  pod.spec.volumes[0].persistentVolumeClaim.emplace().claimName = "c";
  pod.spec.volumes[1].name = "b";
  pod.spec.volumes[1].ephemeral.emplace();
  CHECK(claim_name(pod, pod.spec.volumes[0]) == "c");
  CHECK(claim_name(pod, pod.spec.volumes[1]) == "p-b");
  CHECK(claim_name(pod, pod.spec.volumes[2]).empty());
  CHECK(uses_claim(pod, {"n", "p-b"}));
  CHECK_FALSE(uses_claim(pod, {"other", "p-b"}));
}

}  // namespace skiff::kubelet
