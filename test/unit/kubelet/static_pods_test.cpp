// Pods from files, and their mirrors.

#include "kubelet/static_pods.hpp"
#include "test_kubelet.hpp"

namespace skiff::kubelet {
namespace {

constexpr const char* kManifest =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  terminationGracePeriodSeconds: 1\n"
    "  containers: [{name: c, image: 'busybox:1', command: [sh, -c, 'echo up; sleep 1000']}]\n";

client::Ref<api::Pod> mirror(TestKubelet& test) { return test.cluster.get<api::Pod>("web-node-1"); }

bool wait_mirror(TestKubelet& test, const std::function<bool(const api::Pod&)>& condition) {
  return test.cluster.wait_for([&] {
    client::Ref<api::Pod> pod = mirror(test);
    return pod && condition(*pod);
  });
}

}  // namespace

TEST_CASE("what a manifest file means") {
  api::Pod pod = static_pod(kManifest, "/m/web.yaml", "node-1").value();
  CHECK(pod.metadata.name == "web-node-1");
  CHECK(pod.metadata.namespace_ == "default");
  CHECK(pod.metadata.uid.size() == 32);
  CHECK(static_hash(pod) == pod.metadata.uid);
  CHECK(pod.spec.nodeName == "node-1");
  CHECK(pod.spec.restartPolicy == "Always");  // defaults are filled in
  CHECK(static_pod(kManifest, "/m/other.yaml", "node-1").value().metadata.uid != pod.metadata.uid);
  api::Pod shown = mirror_of(pod, "node-uid");
  CHECK(mirrored_hash(shown) == static_hash(pod));
  CHECK(static_hash(shown).empty());
  CHECK(shown.metadata.ownerReferences.at(0).kind == "Node");
  CHECK_FALSE(static_pod("kind: Service", "/m/x", "node-1").ok());
  CHECK_FALSE(static_pod("{", "/m/x", "node-1").ok());
}

TEST_CASE("a pod runs as long as its file is there, whatever happens to its mirror") {
  if (skip_without_root()) return;
  TestKubelet test;
  std::string file = test.node_spec.directory + "/manifests/web.yaml";
  REQUIRE(sys::write_file(file, kManifest).ok());
  REQUIRE(wait_mirror(test, [](const api::Pod& pod) { return api::is_ready(pod); }));
  std::string first = mirror(test)->metadata.uid, container = mirror(test)->status.containerStatuses[0].containerID;
  SECTION("the mirror is deleted") {
    client::DeleteOptions options;
    options.grace_seconds = 0;
    REQUIRE(test.cluster.client.remove<api::Pod>({"default", "web-node-1"}, options).ok());
    REQUIRE(wait_mirror(test, [&](const api::Pod& pod) { return pod.metadata.uid != first && api::is_ready(pod); }));
    CHECK(mirror(test)->status.containerStatuses[0].containerID == container);
  }
  SECTION("skiff is restarted") {
    test.reconnect();
    REQUIRE(wait_mirror(test, [](const api::Pod& pod) { return api::is_ready(pod); }));
    CHECK(mirror(test)->metadata.uid == first);
    CHECK(mirror(test)->status.containerStatuses[0].containerID == container);
  }
  SECTION("the file changes") {
    REQUIRE(sys::write_file(file, std::string(kManifest) + "# changed\n").ok());
    REQUIRE(wait_mirror(test, [&](const api::Pod& pod) { return pod.metadata.uid != first && api::is_ready(pod); }));
    CHECK(mirror(test)->status.containerStatuses[0].containerID != container);
  }
  REQUIRE(sys::remove_file(file).ok());
  CHECK(test.cluster.wait_for([&] { return mirror(test) == nullptr; }));
  CHECK(test.node->list().value().containers.empty());
}

}  // namespace skiff::kubelet
