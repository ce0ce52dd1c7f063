// Whom a pod pushes aside, in a registry in memory and without one.

#include "support.hpp"

#include "api/gen/policy.hpp"
#include "api/gen/scheduling.hpp"
#include "scheduler/preemption.hpp"

using namespace skiff;
using namespace skiff::scheduler;
using test::node_json;
using test::pod_json;
using test::ScheduledCluster;

namespace {

struct World {
  ClusterState cluster;
  std::vector<client::Ref<api::PodDisruptionBudget>> budgets;

  void node(const std::string& name, int cpus) {
    cluster.set_node(std::make_shared<api::Node>(api::from_json<api::Node>(node_json(name, "", cpus)).value()));
  }
  static PodInfoRef pod(const std::string& name, const std::string& cpu, int priority, const std::string& started = "",
                        const std::string& labels = "") {
    api::Pod pod = api::from_json<api::Pod>(pod_json(name, R"("cpu":")" + cpu + R"(")",
                                                     R"("priority":)" + std::to_string(priority) + ",", labels)).value();
    if (!started.empty()) pod.status.startTime = api::Time::parse(started).value();
    return std::make_shared<PodInfo>(std::make_shared<api::Pod>(pod));
  }
  std::string victims(const PodInfoRef& preemptor) {
    std::vector<NodeVerdict> verdicts = filter_nodes(*preemptor, cluster);
    const PodVolumes none;
    std::optional<Victims> found = find_victims({*preemptor, cluster, none, budgets}, verdicts);
    if (!found) return unschedulable_message({.verdicts = verdicts});
    std::string text = found->node + ":";
    for (const PodInfoRef& one : found->pods) text += " " + one->pod->metadata.name;
    return text;
  }
};

}  // namespace

TEST_CASE("the least important pods go, and no more of them than must") {
  World world;
  world.node("a", 4);
  world.cluster.set_pod(World::pod("low", "1", 1), "a");
  world.cluster.set_pod(World::pod("middle", "1", 5), "a");
  world.cluster.set_pod(World::pod("peer", "2", 10), "a");
  CHECK(world.victims(World::pod("p", "1", 10)) == "a: low");
  CHECK(world.victims(World::pod("p", "2", 10)) == "a: middle low");
  CHECK(world.victims(World::pod("p", "3", 10)) ==
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 "
        "Insufficient cpu.");
  CHECK(world.cluster.find("a")->pods.size() == 3);  // all are where they were
}

TEST_CASE("the node is chosen by budgets, priorities, numbers and age") {
  World world;
  for (const char* name : {"a", "b", "c"}) world.node(name, 2);
  auto put = [&](const char* node, PodInfoRef pod) { world.cluster.set_pod(std::move(pod), node); };
  PodInfoRef p = World::pod("p", "2", 100);
  SECTION("lower victims first") {
    put("a", World::pod("a1", "2", 50));
    put("b", World::pod("b1", "2", 10));
    put("c", World::pod("c1", "2", 60));
    CHECK(world.victims(p) == "b: b1");
  }
  SECTION("a budget weighs more") {
    api::PodDisruptionBudget budget;
    budget.spec.selector.emplace().matchLabels["app"] = "x";
    world.budgets.push_back(std::make_shared<api::PodDisruptionBudget>(budget));
    put("a", World::pod("a1", "2", 50));
    put("b", World::pod("b1", "2", 10, "", R"(,"labels":{"app":"x"})"));
    put("c", World::pod("c1", "2", 60));
    CHECK(world.victims(p) == "a: a1");
  }
  SECTION("fewer of the same, then the younger") {
    put("a", World::pod("a1", "1", 10, "2026-01-01T00:00:00Z"));
    put("a", World::pod("a2", "1", 10, "2026-01-01T00:00:00Z"));
    put("b", World::pod("b1", "2", 10, "2026-01-01T00:00:00Z"));
    put("c", World::pod("c1", "2", 10, "2026-02-01T00:00:00Z"));
    CHECK(world.victims(p) == "c: c1");
  }
  SECTION("who does not help on its own stays") {
    put("a", World::pod("a1", "2", 100));
    put("b", World::pod("b1", "2", 100));
    put("c", World::pod("c1", "2", 200));
    CHECK(world.victims(p) ==
          "0/3 nodes are available: 3 Insufficient cpu. no new claims to deallocate, preemption: 0/3 nodes are available: "
          "3 No preemption victims found for incoming pod.");
  }
}

TEST_CASE("a pod of high priority takes the place of a lower one") {
  ScheduledCluster<> cluster;
  cluster.add_node(node_json("n", "", 2));
  cluster.create<api::PriorityClass>(R"({"metadata":{"name":"high"},"value":1000})");
  cluster.create<api::PriorityClass>(R"({"metadata":{"name":"polite"},"value":1000,"preemptionPolicy":"Never"})");
  cluster.create<api::Pod>(pod_json("low", R"("cpu":"2")", R"("terminationGracePeriodSeconds":5,)"));
  REQUIRE(cluster.is_placed("low"));
  cluster.create<api::Pod>(pod_json("polite", R"("cpu":"2")", R"("priorityClassName":"polite",)"));
  CHECK(cluster.refusal("polite") ==
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to "
        "preemptionPolicy=Never.");
  CHECK_FALSE(cluster.get<api::Pod>("low")->metadata.deletionTimestamp);
  REQUIRE(cluster.client.remove<api::Pod>({"default", "polite"}, {.grace_seconds = 0}).ok());

  api::Pod high = cluster.create<api::Pod>(pod_json("high", R"("cpu":"2")", R"("priorityClassName":"high",)"));
  REQUIRE(cluster.wait_for([&] { return bool(cluster.get<api::Pod>("low")->metadata.deletionTimestamp); }));
  auto low = cluster.get<api::Pod>("low");
  const api::PodCondition* target = api::find_condition(low->status, "DisruptionTarget");
  REQUIRE(target);
  CHECK(target->reason == "PreemptionByScheduler");
  CHECK(target->message == "default-scheduler: preempting to accommodate a higher priority pod");
  CHECK(cluster.wait_for([&] { return cluster.get<api::Pod>("high")->status.nominatedNodeName == "n"; }));
  CHECK(cluster.refusal("high") == "0/1 nodes are available: 1 Insufficient cpu.");
  CHECK(cluster.wait_for([&] {
    for (const auto& event : cluster.list<api::Event>())
      if (event->reason == "Preempted" && event->message == "Preempted by pod " + high.metadata.uid + " on node n")
        return true;
    return false;
  }));

  // Room that is being made is not for others.
  cluster.create<api::Pod>(pod_json("sneaky", R"("cpu":"1")"));
  CHECK_FALSE(cluster.refusal("sneaky").empty());
  REQUIRE(cluster.client.remove<api::Pod>({"default", "low"}, {.grace_seconds = 0}).ok());
  // Time must not pass before the scheduler has seen it go: another look in vain would double the backoff.
  REQUIRE(cluster.wait_for([&] {
    return cluster.scheduler.explain(*cluster.get<api::Pod>("high")).verdicts.at(0).reasons.empty();
  }));
  cluster.clock.wait_for_waiters(1);
  cluster.clock.advance(2s);
  REQUIRE(cluster.is_placed("high"));
  CHECK(cluster.node_of("sneaky").empty());
}
