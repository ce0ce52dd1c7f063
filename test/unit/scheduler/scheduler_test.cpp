// The scheduler against a registry in memory.

#include "support.hpp"

#include "api/gen/scheduling.hpp"

using namespace skiff;
using test::node_json;
using test::pod_json;
using test::ScheduledCluster;

namespace {

bool has_event(ScheduledCluster<>& cluster, const std::string& reason, const std::string& message) {
  return cluster.wait_for([&] {
    for (const auto& event : cluster.list<api::Event>())
      if (event->reason == reason && event->message == message &&
          event->source.component == "default-scheduler")
        return true;
    return false;
  });
}

}  // namespace

TEST_CASE("a pod is bound to a node that fits") {
  ScheduledCluster<> cluster;
  cluster.add_node(node_json("small", "", 1));
  cluster.add_node(node_json("large", "", 8));
  cluster.create<api::Pod>(pod_json("p", R"("cpu":"2")"));
  REQUIRE(cluster.is_placed("p"));
  CHECK(cluster.node_of("p") == "large");
  const api::PodCondition* scheduled =
      api::find_condition(cluster.get<api::Pod>("p")->status, "PodScheduled");
  REQUIRE(scheduled);
  CHECK(scheduled->status == "True");
  CHECK(has_event(cluster, "Scheduled", "Successfully assigned default/p to large"));
}

TEST_CASE("a pod that does not fit says why and is placed when room is made") {
  ScheduledCluster<> cluster;
  cluster.create<api::Pod>(pod_json("p", R"("cpu":"3")"));
  CHECK(cluster.refusal("p") == "no nodes available to schedule pods");
  cluster.add_node(
      node_json("tainted", R"("spec":{"taints":[{"key":"a","value":"b","effect":"NoSchedule"}]},)"));
  cluster.add_node(node_json("cordoned", R"("spec":{"unschedulable":true},)"));
  cluster.add_node(node_json("small", "", 2));
  const std::string why =
      "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 node(s) were "
      "unschedulable. "
      "no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for "
      "scheduling.";
  REQUIRE(cluster.wait_for([&] {
    scheduler::Refusal refusal = cluster.scheduler.explain(*cluster.get<api::Pod>("p"));
    return refusal.verdicts.size() == 3 && scheduler::unschedulable_message(refusal) == why;
  }));
  cluster.clock.wait_for_waiters(1);
  cluster.clock.advance(2s);
  CHECK(has_event(cluster, "FailedScheduling", why));
  cluster.add_node(node_json("large", "", 8));
  cluster.clock.wait_for_waiters(1);
  cluster.clock.advance(10s);
  REQUIRE(cluster.is_placed("p"));
  CHECK(cluster.node_of("p") == "large");
}

TEST_CASE("resources of bound pods are taken until they end") {
  ScheduledCluster<> cluster;
  cluster.add_node(node_json("n", "", 4));
  cluster.create<api::Pod>(pod_json("a", R"("cpu":"3")"));
  REQUIRE(cluster.is_placed("a"));
  cluster.create<api::Pod>(pod_json("b", R"("cpu":"2")"));
  CHECK(cluster.refusal("b") ==
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are "
        "available: "
        "1 No preemption victims found for incoming pod.");
  REQUIRE(cluster.client.remove<api::Pod>({"default", "a"}, {.grace_seconds = 0}).ok());
  cluster.clock.wait_for_waiters(1);
  cluster.clock.advance(2s);
  CHECK(cluster.is_placed("b"));
}

TEST_CASE("who is not ours stays alone, and gates hold a pod back") {
  ScheduledCluster<> cluster;
  cluster.add_node(node_json("n"));
  api::Pod other = api::from_json<api::Pod>(pod_json("other")).value();
  other.spec.schedulerName = "custom";
  REQUIRE(cluster.client.create(other).ok());
  cluster.create<api::Pod>(pod_json("gated", "", R"("schedulingGates":[{"name":"example.com/g"}],)"));
  cluster.create<api::Pod>(pod_json("p"));
  REQUIRE(cluster.is_placed("p"));
  CHECK(cluster.node_of("other").empty());
  CHECK(cluster.node_of("gated").empty());
  REQUIRE(cluster.client
              .update_with_retry<api::Pod>({"default", "gated"},
                                           [](api::Pod& pod) {
                                             pod.spec.schedulingGates.clear();
                                             return true;
                                           })
              .ok());
  CHECK(cluster.is_placed("gated"));
}

TEST_CASE("siblings spread over the nodes") {
  ScheduledCluster<> cluster;
  for (const char* name : {"a", "b", "c"}) cluster.add_node(node_json(name));
  const std::string owner =
      R"(,"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"x","uid":"1",
      "controller":true}])";
  std::map<std::string, int> per_node;
  for (int i = 0; i < 9; ++i) {
    std::string name = "p" + std::to_string(i);
    cluster.create<api::Pod>(pod_json(name, "", "", owner));
    REQUIRE(cluster.is_placed(name));
    ++per_node[cluster.node_of(name)];
  }
  CHECK(per_node == std::map<std::string, int>{{"a", 3}, {"b", 3}, {"c", 3}});
}

TEST_CASE("many pods at once never overfill a node") {
  ScheduledCluster<SystemClock> cluster;
  cluster.add_node(node_json("a", "", 10));
  cluster.add_node(node_json("b", "", 10));
  for (int i = 0; i < 25; ++i) cluster.create<api::Pod>(pod_json("p" + std::to_string(i), R"("cpu":"1")"));
  auto count = [&](const std::string& node) {
    size_t placed = 0;
    for (const auto& pod : cluster.list<api::Pod>()) placed += pod->spec.nodeName == node ? 1 : 0;
    return placed;
  };
  CHECK(cluster.wait_for([&] {
    size_t refused = 0;
    for (const auto& pod : cluster.list<api::Pod>()) {
      const api::PodCondition* condition = api::find_condition(pod->status, "PodScheduled");
      refused += condition && condition->status == "False" ? 1 : 0;
    }
    return count("a") == 10 && count("b") == 10 && refused == 5;
  }));
}

TEST_CASE("each profile places its pods under its own name") {
  ScheduledCluster<> cluster(scheduler::parse_profiles("packed=MostAllocated").value());
  cluster.add_node(node_json("n", "", 1));
  cluster.create<api::Pod>(pod_json("usual"));
  api::Pod packed = api::from_json<api::Pod>(pod_json("packed", R"("cpu":"1")")).value();
  api::Pod large = api::from_json<api::Pod>(pod_json("large", R"("cpu":"9")")).value();
  packed.metadata.namespace_ = large.metadata.namespace_ = "default";
  packed.spec.schedulerName = large.spec.schedulerName = "packed";
  REQUIRE(cluster.client.create(packed).ok());
  REQUIRE(cluster.client.create(large).ok());
  CHECK(cluster.is_placed("usual"));
  CHECK(cluster.is_placed("packed"));
  auto told = [&](const std::string& pod, const std::string& reason, const std::string& by) {
    return cluster.wait_for([&] {
      for (const auto& event : cluster.list<api::Event>())
        if (event->involvedObject.name == pod && event->reason == reason)
          return event->source.component == by && event->reportingComponent == by;
      return false;
    });
  };
  CHECK(told("usual", "Scheduled", "default-scheduler"));
  CHECK(told("packed", "Scheduled", "packed"));
  CHECK(told("large", "FailedScheduling", "packed"));
}
