// What rollouts and replica sets decide, in tables.

#include "api/json.hpp"
#include "api/pods.hpp"
#include "controllers/owner_graph.hpp"
#include "controllers/replica_plan.hpp"
#include "controllers/rollout.hpp"
#include "controllers/slow_start.hpp"
#include "support.hpp"

using namespace skiff;
using namespace skiff::controllers;

namespace {

api::Deployment deployment(int replicas, const std::string& surge, const std::string& unavailable) {
  return api::from_json<api::Deployment>(
             R"({"metadata":{"name":"d"},"spec":{"replicas":)" + std::to_string(replicas) +
             R"(,"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":)" + surge +
             R"(,"maxUnavailable":)" + unavailable + "}}}}")
      .value();
}

Set set(const std::string& name, int replicas, int available, int max_replicas = 0, int age = 0) {
  auto made = std::make_shared<api::ReplicaSet>();
  made->metadata.name = made->metadata.uid = name;
  made->metadata.creationTimestamp = api::Time::from(WallTime(std::chrono::seconds(1000 - age)));
  if (max_replicas > 0) made->metadata.annotations[kMaxReplicas] = std::to_string(max_replicas);
  made->spec.replicas = replicas;
  made->status.availableReplicas = made->status.replicas = available;
  return made;
}

std::string text(const std::vector<Scaling>& plan) {
  std::string text;
  for (const Scaling& scaling : plan)
    text += (text.empty() ? "" : " ") + scaling.set->metadata.name + ":" + std::to_string(scaling.to);
  return text;
}

client::Ref<api::Pod> pod(const std::string& name, const std::string& phase, bool ready,
                          const std::string& node = "n") {
  auto made = std::make_shared<api::Pod>();
  made->metadata.name = made->metadata.uid = name;
  made->spec.nodeName = node;
  made->status.phase = phase;
  api::set_condition(made->status, test::ready_condition(ready, api::Time::from(WallTime(100s))));
  return made;
}

const api::Time kNow = api::Time::from(WallTime(1000s));

}  // namespace

TEST_CASE("fenceposts round surge up and unavailability down") {
  struct Row {
    int replicas;
    const char *surge, *unavailable;
    int want_surge, want_unavailable;
  };
  auto row = GENERATE(Row{10, "\"25%\"", "\"25%\"", 3, 2}, Row{1, "\"25%\"", "\"25%\"", 1, 0},
                      Row{4, "0", "\"10%\"", 0, 1}, Row{2, "5", "5", 5, 2}, Row{0, "1", "1", 1, 0});
  Fenceposts posts = fenceposts(deployment(row.replicas, row.surge, row.unavailable));
  CHECK(posts.surge == row.want_surge);
  CHECK(posts.unavailable == row.want_unavailable);
}

TEST_CASE("the new set grows into the room there is") {
  api::Deployment ten = deployment(10, "3", "2");
  CHECK(new_set_size(ten, {}, 0) == 10);
  CHECK(new_set_size(ten, {set("old", 10, 10)}, 0) == 3);
  CHECK(new_set_size(ten, {set("old", 8, 8), set("new", 5, 0)}, 5) == 5);
  CHECK(new_set_size(ten, {set("old", 1, 1), set("new", 8, 8)}, 8) == 10);
}

TEST_CASE("old sets give up broken pods first, then what availability allows") {
  api::Deployment ten = deployment(10, "3", "2");
  CHECK(text(plan_old_sets(ten, {set("old", 10, 10)}, *set("new", 3, 0))) == "old:8");
  CHECK(text(plan_old_sets(ten, {set("old", 8, 8)}, *set("new", 5, 0))) == "");
  CHECK(text(plan_old_sets(ten, {set("old", 8, 8)}, *set("new", 5, 5))) == "old:3");
  CHECK(text(plan_old_sets(ten, {set("old", 10, 4)}, *set("new", 3, 0))) == "old:8");
  CHECK(text(plan_old_sets(ten, {set("b", 5, 5), set("a", 5, 5, 0, 10)}, *set("new", 3, 3))) == "a:0");
}

TEST_CASE("scaling in the middle of a rollout is proportional") {
  api::Deployment d = deployment(15, "0", "1");
  d.status.replicas = 10;
  CHECK(text(plan_scale(d, set("new", 4, 4, 10), {set("old", 6, 6, 10, 10)})) == "old:9 new:6");
  api::Deployment down = deployment(5, "0", "1");
  CHECK(text(plan_scale(down, set("new", 4, 4, 10), {set("old", 6, 6, 10, 10)})) == "old:3 new:2");
  CHECK(text(plan_scale(deployment(0, "1", "1"), set("new", 4, 4, 10), {set("old", 6, 6, 10, 10)})) ==
        "old:0 new:0");
  CHECK(text(plan_scale(d, set("only", 3, 3), {})) == "only:15");
}

TEST_CASE("a template's hash is stable and made of safe letters") {
  api::PodTemplateSpec model;
  model.spec.containers.emplace_back().image = "a:1";
  std::string first = template_hash(model, std::nullopt);
  CHECK(first == template_hash(model, std::nullopt));
  CHECK(first != template_hash(model, 1));
  CHECK(first.find_first_not_of("bcdfghjklmnpqrstvwxz2456789") == std::string::npos);
  model.spec.containers[0].image = "a:2";
  CHECK(first != template_hash(model, std::nullopt));
}

TEST_CASE("victims are those whose loss costs least") {
  auto cheap = std::make_shared<api::Pod>(*pod("cheap", "Running", true));
  cheap->metadata.annotations["controller.kubernetes.io/pod-deletion-cost"] = "-5";
  Pods pods{pod("ready", "Running", true, "quiet"),
            pod("crowded", "Running", true, "busy"),
            cheap,
            pod("unready", "Running", false),
            pod("pending", "Pending", false),
            pod("unscheduled", "Pending", false, "")};
  Pods related = pods;
  related.push_back(pod("neighbour", "Running", true, "busy"));
  std::string order;
  for (const auto& one : choose_victims(pods, related, 5, kNow)) order += one->metadata.name + " ";
  CHECK(order == "unscheduled pending unready cheap crowded ");
}

TEST_CASE("pods are available after they have been ready for long enough") {
  Pods pods{pod("a", "Running", true), pod("b", "Running", false)};
  CHECK(count_replicas(pods, {}, 0, kNow).available == 1);
  CHECK(count_replicas(pods, {}, 950, kNow).available == 0);
  CHECK(next_available(pods, 950, kNow) == WallTime(1050s));
  CHECK_FALSE(next_available(pods, 900, kNow));
}

TEST_CASE("a slow start stops at the first batch that fails") {
  std::atomic<int> calls = 0;
  SlowStart none = slow_start(100, [&]() -> Status {
    ++calls;
    return Error(Code::Forbidden, "no");
  });
  CHECK(none.done == 0);
  CHECK(calls == 1);
  REQUIRE(none.error);
  calls = 0;
  SlowStart some = slow_start(
      100, [&]() -> Status { return ++calls > 10 ? Status(Error(Code::Forbidden, "quota")) : ok(); });
  CHECK(some.done == 10);
  CHECK(calls == 15);
  CHECK(slow_start(20, [] { return ok(); }).done == 20);
}

TEST_CASE("the owner graph says what to look at") {
  OwnerGraph graph;
  OwnedNode owner, child;
  owner.uid = "owner";
  child.uid = "child";
  child.owners.emplace_back().uid = "owner";
  CHECK(graph.put(child).check == std::vector<std::string>{"child"});  // nobody has seen its owner
  CHECK(graph.put(owner).check.empty());
  CHECK(graph.put(child).check.empty());
  REQUIRE(graph.dependents("owner").size() == 1);
  owner.deleting = owner.waits = true;
  CHECK(graph.put(owner).check == std::vector<std::string>{"owner"});
  CHECK(graph.remove("child").check == std::vector<std::string>{"owner"});
  graph.put(child);
  CHECK(graph.remove("owner").check == std::vector<std::string>{"child"});
}
