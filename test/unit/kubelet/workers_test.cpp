#include <catch2/catch.hpp>

#include "kubelet/pod_workers.hpp"
#include "support/test_cluster.hpp"

namespace skiff::kubelet {

TEST_CASE("an adopted pod's containers are known before its worker's first step") {
  test::TestCluster<> cluster;
  PodWorkers workers(cluster.client, cluster.clock);
  auto pod = std::make_shared<api::Pod>();
  pod->metadata.uid = "u";
  pod->metadata.namespace_ = "default";
  pod->metadata.name = "p";
  PodState state;
  state.sandbox = "u";
  state.ips = {"10.244.0.2"};
  Run run;
  run.container.id = "abc";
  run.container.state = runtime::ContainerState::Running;
  state.containers["c"].current = run;
  workers.adopt_pod(pod, std::move(state));
  std::optional<PodSnapshot> snapshot = workers.snapshot({"default", "p"});
  REQUIRE(snapshot);
  CHECK(snapshot->containers["c"].id == "abc");
  CHECK(snapshot->containers["c"].running);
  CHECK(snapshot->ips == std::vector<std::string>{"10.244.0.2"});
  CHECK(snapshot->has_sandbox);
}

}  // namespace skiff::kubelet
