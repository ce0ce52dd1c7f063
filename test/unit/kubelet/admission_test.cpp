// What a node takes on, what it reserves, and what changes while a pod runs.

#include "kubelet/admission.hpp"
#include "kubelet/pod_plan.hpp"
#include "test_kubelet.hpp"

namespace skiff::kubelet {
namespace {

api::Pod with_sysctl(const std::string& name) {
  api::Pod pod;
  api::Sysctl sysctl;
  sysctl.name = name;
  sysctl.value = "1";
  pod.spec.securityContext.emplace().sysctls = {sysctl};
  return pod;
}

std::string rejected(const api::Pod& pod, const AdmissionFacts& facts = {}) {
  std::optional<Rejection> rejection = check_admission(pod, facts);
  return rejection ? rejection->reason + ": " + rejection->message : "";
}

void resize(TestKubelet& test, const std::string& resources) {
  Result<client::AnyRef> patched = test.cluster.client.patch(
      api::kind_of<api::Pod>(), {"default", "p"}, client::PatchType::StrategicMerge,
      R"({"spec":{"containers":[{"name":"c","resources":)" + resources + "}]}}", "resize");
  INFO((patched.ok() ? "" : patched.error().message()));
  REQUIRE(patched.ok());
}

const api::ContainerStatus& status_of(const api::Pod& pod) { return pod.status.containerStatuses.at(0); }

}  // namespace

TEST_CASE("which pods a node refuses") {
  CHECK(rejected(with_sysctl("net.ipv4.tcp_syncookies")).empty());
  CHECK(rejected(with_sysctl("net/ipv4/ping_group_range")).empty());
  CHECK(rejected(with_sysctl("kernel.msgmax")) == "SysctlForbidden: forbidden sysctl: \"kernel.msgmax\" not allowlisted");
  CHECK(rejected(with_sysctl("kernel.msgmax"), {.unsafe_sysctls = {"kernel.msg*"}}).empty());
  api::Pod pod = with_sysctl("net.ipv4.tcp_syncookies");
  pod.spec.hostNetwork = true;
  CHECK(rejected(pod) ==
        "SysctlForbidden: forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host Net enabled");
  pod = with_sysctl("kernel.shm_rmid_forced");
  pod.spec.hostIPC = true;
  CHECK(rejected(pod) ==
        "SysctlForbidden: forbidden sysctl: \"kernel.shm_rmid_forced\" not allowed with host IPC enabled");

  api::Pod guarded;
  guarded.spec.securityContext.emplace().appArmorProfile.emplace().type = "RuntimeDefault";
  CHECK(rejected(guarded) == "AppArmor: Cannot enforce AppArmor: AppArmor is not enabled on the host");
  CHECK(rejected(guarded, {.app_armor = true}).empty());
  guarded.spec.securityContext->appArmorProfile->type = "Unconfined";
  CHECK(rejected(guarded).empty());

  api::Pod windows;
  windows.spec.os.emplace().name = "windows";
  CHECK(rejected(windows).starts_with("PodOSNotSupported: "));

  api::Pod picky;
  picky.spec.nodeSelector["disk"] = "ssd";
  api::Node node;
  CHECK(rejected(picky).empty());  // the node is not known yet
  CHECK(rejected(picky, {.node = &node}) ==
        "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector");
  node.metadata.labels["disk"] = "ssd";
  CHECK(rejected(picky, {.node = &node}).empty());
}

TEST_CASE("room on a node is given once") {
  NodeRoom room({{"cpu", 1000}, {"memory", 100}, {"pods", 2}});
  CHECK_FALSE(room.take("a", {{"cpu", 600}, {"pods", 1}}));
  std::optional<Shortage> shortage = room.take("b", {{"cpu", 600}, {"pods", 1}});
  REQUIRE(shortage);
  CHECK(out_of(*shortage).reason == "OutOfcpu");
  CHECK(out_of(*shortage).message == "Node didn't have enough resource: cpu, requested: 600, used: 600, capacity: 1000");
  CHECK_FALSE(shortage->never);
  CHECK(room.take("b", {{"cpu", 2000}})->never);
  CHECK_FALSE(room.take("a", {{"cpu", 900}, {"pods", 1}}));  // its own does not count against it
  CHECK_FALSE(room.take("b", {{"cpu", 100}, {"pods", 1}}));
  CHECK(room.take("c", {{"pods", 1}})->resource == "pods");
  room.release("b");
  CHECK_FALSE(room.take("c", {{"pods", 1}}));
  CHECK(room.take("d", {{"hugepages-2Mi", 1}})->never);
  room.hold("e", {{"cpu", 5000}});
  CHECK(room.take("d", {{"cpu", 1}}));
}

TEST_CASE("a refused pod fails with the reason") {
  if (skip_without_root()) return;
  TestKubelet test;
  SECTION("sysctl") {
    test.create("sleep 1000", "", R"(,"securityContext":{"sysctls":[{"name":"kernel.msgmax","value":"1"}]})");
    REQUIRE(test.wait_phase("Failed"));
    CHECK(test.pod()->status.reason == "SysctlForbidden");
    CHECK(test.pod()->status.message == "Pod was rejected: forbidden sysctl: \"kernel.msgmax\" not allowlisted");
    CHECK(test.wait_event("SysctlForbidden", "forbidden sysctl"));
  }
  SECTION("too large") {
    test.create("sleep 1000", R"(,"resources":{"requests":{"cpu":"1000"}})");
    REQUIRE(test.wait_phase("Failed"));
    CHECK(test.pod()->status.reason == "OutOfcpu");
  }
  CHECK(test.node->list().value().containers.empty());
}

TEST_CASE("resources change while the container runs") {
  if (skip_without_root()) return;
  TestKubelet test;
  test.create("sleep 1000",
              R"(,"resources":{"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"cpu":"200m","memory":"64Mi"}},"resizePolicy":[{"resourceName":"cpu","restartPolicy":"NotRequired"},{"resourceName":"memory","restartPolicy":"RestartContainer"}])");
  REQUIRE(test.wait_ready());
  std::string id = status_of(*test.pod()).containerID;
  SECTION("in place") {
    resize(test, R"({"requests":{"cpu":"150m"},"limits":{"cpu":"300m"}})");
    REQUIRE(test.wait_for([](const api::Pod& pod) {
      const auto& resources = status_of(pod).resources;
      return resources && resources->limits.at("cpu").text() == "300m";
    }));
    CHECK(status_of(*test.pod()).containerID == id);
    CHECK(status_of(*test.pod()).allocatedResources.at("cpu").text() == "150m");
    CHECK(status_of(*test.pod()).restartCount == 0);
    for (const runtime::ContainerStatus& container : test.node->list().value().containers) {
      std::string directory = test.cgroups->directories(container.cgroup)[test.cgroups->unified() ? 0 : 1];
      std::string v1 = directory + "/cpu.cfs_quota_us", v2 = directory + "/cpu.max";
      CHECK(sys::read_file(sys::exists(v1) ? v1 : v2).value().starts_with("30000"));
    }
  }
  SECTION("with a restart where the policy says so") {
    resize(test, R"({"requests":{"memory":"128Mi"},"limits":{"memory":"128Mi"}})");
    REQUIRE(test.wait_for([](const api::Pod& pod) { return status_of(pod).restartCount == 1 && status_of(pod).ready; }));
    CHECK(status_of(*test.pod()).resources->limits.at("memory").text() == "128Mi");
    CHECK(test.wait_event("Killing", "Container c resize requires restart"));
  }
  SECTION("not beyond the node") {
    resize(test, R"({"requests":{"cpu":"1000"},"limits":{"cpu":"2000"}})");
    REQUIRE(test.wait_for([](const api::Pod& pod) { return api::find_condition(pod.status, "PodResizePending"); }));
    const api::PodCondition* pending = api::find_condition(test.pod()->status, "PodResizePending");
    CHECK(pending->reason == "Infeasible");
    CHECK(pending->message.starts_with("Node didn't have enough capacity: cpu, requested: 1000000, capacity: "));
    CHECK(status_of(*test.pod()).resources->limits.at("cpu").text() == "200m");
    resize(test, R"({"requests":{"cpu":"100m"},"limits":{"cpu":"200m"}})");
    CHECK(test.wait_for([](const api::Pod& pod) { return !api::find_condition(pod.status, "PodResizePending"); }));
  }
}

TEST_CASE("rules of a container decide before its policy") {
  api::Pod pod;
  pod.spec.restartPolicy = "Never";
  api::Container container;
  api::ContainerRestartRule& rule = container.restartPolicyRules.emplace_back();
  rule.action = "Restart";
  rule.exitCodes.emplace();
  rule.exitCodes->operator_ = "In";
  rule.exitCodes->values = {42};
  CHECK(restarts(pod, container, 42));
  CHECK_FALSE(restarts(pod, container, 1));
  rule.exitCodes->operator_ = "NotIn";
  CHECK_FALSE(restarts(pod, container, 42));
  CHECK(restarts(pod, container, 1));
  container.restartPolicy = "OnFailure";
  CHECK(restarts(pod, container, 42));
}

TEST_CASE("a container is added to look into a running pod") {
  if (skip_without_root()) return;
  TestKubelet test;
  test.create("exec sleep 4321", "", R"(,"initContainers":[])");
  REQUIRE(test.wait_ready());
  Result<client::AnyRef> patched = test.cluster.client.patch(
      api::kind_of<api::Pod>(), {"default", "p"}, client::PatchType::StrategicMerge,
      R"({"spec":{"ephemeralContainers":[{"name":"look","image":"busybox:1","command":["busybox","ps"],"targetContainerName":"c"}]}})",
      "ephemeralcontainers");
  INFO((patched.ok() ? "" : patched.error().message()));
  REQUIRE(patched.ok());
  REQUIRE(test.wait_for([](const api::Pod& pod) {
    return !pod.status.ephemeralContainerStatuses.empty() && pod.status.ephemeralContainerStatuses[0].state.terminated;
  }));
  client::LogOptions look;
  look.container = "look";
  CHECK(test.logs(look).find("sleep 4321") != std::string::npos);
  CHECK(test.pod()->status.phase == "Running");
  CHECK(api::is_ready(*test.pod()));
  // Once is once, also after skiff was away.
  test.reconnect();
  REQUIRE(test.wait_ready());
  CHECK(test.pod()->status.ephemeralContainerStatuses[0].restartCount == 0);
  test.remove();
  CHECK(test.wait_gone());
}

}  // namespace skiff::kubelet
