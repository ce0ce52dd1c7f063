// Who has to go when the node runs out of memory or disk, and who writes too much.

#include "kubelet/eviction.hpp"

#include <algorithm>

#include "test_kubelet.hpp"

namespace skiff::kubelet {
namespace {

api::Pod pod_of(const std::string& uid, std::int32_t priority, std::int64_t memory_request) {
  api::Pod pod;
  pod.metadata.uid = uid;
  pod.spec.priority = priority;
  pod.spec.containers.emplace_back().name = "c";
  if (memory_request > 0)
    pod.spec.containers[0].resources.requests["memory"] = api::Quantity::of_bytes(memory_request);
  return pod;
}

client::PodUsage memory_of(std::uint64_t bytes) {
  client::PodUsage usage;
  usage.compute.working_set_bytes = bytes;
  client::ContainerUsage& container = usage.containers.emplace_back();
  container.name = "c";
  container.compute.working_set_bytes = bytes;
  return usage;
}

}  // namespace

TEST_CASE("pressure is measured against thresholds") {
  EvictionThresholds thresholds{.memory_available = 100, .disk_available = 1000, .disk_inodes_free_percent = 5};
  CHECK(pressure_of({100, 1000, 50, 1000}, thresholds) == Pressure{false, false});
  CHECK(pressure_of({99, 1000, 50, 1000}, thresholds) == Pressure{true, false});
  CHECK(pressure_of({100, 999, 50, 1000}, thresholds) == Pressure{false, true});
  CHECK(pressure_of({100, 1000, 49, 1000}, thresholds) == Pressure{false, true});
  CHECK(pressure_of({100, 1000, 0, 0}, thresholds) == Pressure{false, false});  // a file system without inodes
  NodeSignals real = read_signals("/tmp");
  CHECK(real.memory_available > 0);
  CHECK(real.disk_available > 0);
}

TEST_CASE("who uses more than it asked for goes first, then the less important, then the greedier") {
  api::Pod modest = pod_of("modest", 0, 200), greedy = pod_of("greedy", 0, 100), important = pod_of("important", 10, 100),
           critical = pod_of("critical", 2'000'000'000, 0);
  NodeSignals signals{50, 0, 0, 0};
  auto first = [&](std::vector<MeasuredPod> pods) { return choose_for_memory(pods, signals, {}); };
  CHECK(first({{&modest, memory_of(150)}, {&greedy, memory_of(150)}})->pod_uid == "greedy");
  CHECK(first({{&important, memory_of(900)}, {&greedy, memory_of(150)}})->pod_uid == "greedy");
  CHECK(first({{&important, memory_of(900)}, {&modest, memory_of(150)}})->pod_uid == "important");
  CHECK_FALSE(first({{&critical, memory_of(900)}}));
  CHECK(first({{&greedy, memory_of(1024)}})->message ==
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50. Container c was using 1Ki, "
        "request is 100, has larger consumption of memory. ");
}

TEST_CASE("limits on what a pod writes") {
  api::Pod pod = pod_of("p", 0, 0);
  CHECK_FALSE(limits_disk(pod));
  api::Volume& volume = pod.spec.volumes.emplace_back();
  volume.name = "d";
  volume.emptyDir.emplace().sizeLimit = api::Quantity::of_bytes(1 << 20);
  CHECK(limits_disk(pod));
  client::PodUsage usage = memory_of(0);
  usage.volumes["d"].used_bytes = 1 << 20;
  CHECK(broken_disk_limit(pod, usage).empty());
  usage.volumes["d"].used_bytes = (1 << 20) + 1;
  CHECK(broken_disk_limit(pod, usage) == "Usage of EmptyDir volume \"d\" exceeds the limit \"1Mi\". ");
  usage.volumes.clear();
  pod.spec.containers[0].resources.limits["ephemeral-storage"] = api::Quantity::of_bytes(4096);
  usage.ephemeral.emplace().used_bytes = 8192;
  CHECK(broken_disk_limit(pod, usage) == "Pod ephemeral local storage usage exceeds the total limit of containers 4Ki. ");
  pod.spec.containers.emplace_back().name = "other";
  CHECK(broken_disk_limit(pod, usage).empty());  // not all are limited, so the sum is not either
  usage.containers[0].root.emplace().used_bytes = 8192;
  CHECK(broken_disk_limit(pod, usage) == "Container c exceeded its local ephemeral storage limit \"4Ki\". ");
}

TEST_CASE("the manager tells pressure once and evicts one pod a look") {
  SystemClock clock;
  api::Pod a = pod_of("a", 0, 0), b = pod_of("b", 1, 0);
  NodeSignals signals{1, 1ULL << 40, 0, 0};
  std::vector<Pressure> told;
  std::vector<std::string> evicted;
  EvictionManager manager(
      clock, {},
      {.signals = [&] { return signals; },
       .pods = [&](bool) {
         return std::vector<std::pair<std::shared_ptr<const api::Pod>, client::PodUsage>>{
             {std::make_shared<const api::Pod>(a), memory_of(10)}, {std::make_shared<const api::Pod>(b), memory_of(10)}};
       },
       .any_disk_limits = [] { return false; },
       .evict = [&](const EvictionChoice& choice) { evicted.push_back(choice.pod_uid); },
       .tell = [&](const Pressure& pressure) { told.push_back(pressure); }});
  manager.look();
  manager.look();
  CHECK(told == std::vector<Pressure>{{true, false}});
  CHECK(evicted == std::vector<std::string>{"a", "a"});
  signals.memory_available = 1ULL << 40;
  manager.look();
  CHECK(told.back() == Pressure{});
  CHECK(evicted.size() == 2);
}

TEST_CASE("a node short of memory says so, ends who uses more than it asked for and takes no newcomer without a request") {
  if (skip_without_root()) return;
  TestKubelet test;
  test.create("sleep 1000");
  REQUIRE(test.wait_ready());
  test.eviction.memory_available = ~0ULL;
  test.reconnect();
  CHECK(test.cluster.wait_for([&] {
    client::Ref<api::Node> node = test.cluster.client.get<api::Node>({"", "node-1"}).value();
    return std::ranges::any_of(node->status.conditions, [](const api::NodeCondition& condition) {
      return condition.type == "MemoryPressure" && condition.status == "True" &&
             condition.reason == "KubeletHasInsufficientMemory";
    });
  }));
  REQUIRE(test.wait_phase("Failed"));
  CHECK(test.pod()->status.reason == "Evicted");
  CHECK(test.pod()->status.message.starts_with("The node was low on resource: memory. "));
  test.remove();
  REQUIRE(test.wait_gone());
  test.create("sleep 1000");
  REQUIRE(test.wait_phase("Failed"));
  CHECK(test.pod()->status.message == "Pod was rejected: The node had condition: [MemoryPressure]. ");
}

TEST_CASE("a pod that fills its volume is evicted") {
  if (skip_without_root()) return;
  TestKubelet test;
  test.create("busybox head -c 3000000 /dev/zero > /d/big; sleep 1000", R"(,"volumeMounts":[{"name":"d","mountPath":"/d"}])",
              R"(,"volumes":[{"name":"d","emptyDir":{"sizeLimit":"1Mi"}}])");
  REQUIRE(test.wait_phase("Failed"));
  const api::PodStatus status = test.pod()->status;
  CHECK(status.reason == "Evicted");
  CHECK(status.message == "Usage of EmptyDir volume \"d\" exceeds the limit \"1Mi\". ");
  REQUIRE(api::find_condition(status, "DisruptionTarget"));
  CHECK(api::find_condition(status, "DisruptionTarget")->reason == "TerminationByKubelet");
  CHECK(test.wait_event("Evicted", "exceeds the limit"));
}

}  // namespace skiff::kubelet
