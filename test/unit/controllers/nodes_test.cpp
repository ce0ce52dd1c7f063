// Nodes that fall silent, their pods, and what removes pods that nobody else will. Under a clock that stands still.

#include "support.hpp"

#include "api/gen/coordination.hpp"
#include "api/gen/nodes.hpp"
#include "controllers/node_health.hpp"
#include "controllers/pod_garbage.hpp"

using namespace skiff;
using namespace skiff::controllers;

namespace {

struct World : test::ControlledCluster<test::FakeClock> {
  void add_node(const std::string& name, const std::string& zone = "") {
    test::create_ready_node(*this, R"({"metadata":{"name":")" + name + R"(","labels":{"topology.kubernetes.io/zone":")" + zone + R"("}},
      "status":{"conditions":[{"type":"Ready","status":"True"},{"type":"DiskPressure","status":"False"}]}})");
    create<api::Lease>(R"({"metadata":{"name":")" + name + R"(","namespace":"kube-node-lease"},"spec":{"holderIdentity":")" +
                       name + R"("}})");
  }
  World() { create<api::Namespace>(R"({"metadata":{"name":"kube-node-lease"}})"); }
  void beat(const std::string& name) {
    REQUIRE(client.update_with_retry<api::Lease>({"kube-node-lease", name}, [&](api::Lease& lease) {
      lease.spec.renewTime = api::MicroTime::from(clock.wall_now());
      return true;
    }).ok());
    // The controller hears by its informer, not by the write.
    std::int64_t revision = client::revision_of(get<api::Lease>(name, "kube-node-lease")->metadata);
    REQUIRE(wait_for([&] { return informers.of<api::Lease>().revision() >= revision; }));
  }
  // Time passes for all; those in `alive` renew their leases meanwhile.
  void pass(Duration duration, const std::vector<std::string>& alive) {
    for (Duration left = duration; left > Duration::zero(); left -= 10s) {
      clock.advance(std::min<Duration>(left, 10s));
      for (const std::string& name : alive) beat(name);
    }
  }
  // A timer may be set only after the clock has moved: it moves on until it fires.
  bool passes_until(const std::vector<std::string>& alive, const std::function<bool()>& condition) {
    for (int i = 0; i < 50; ++i) {
      if (wait_for(condition, 100ms)) return true;
      pass(10s, alive);
    }
    return false;
  }
  std::string ready(const std::string& name) { return readiness(*get<api::Node>(name)); }
  bool tainted(const std::string& name, const std::string& key, const std::string& effect) {
    return wait_for([&] { return has_taint(*get<api::Node>(name), key, effect); });
  }
  void add_pod(const std::string& name, const std::string& node, const std::string& more = "") {
    create<api::Pod>(R"({"metadata":{"name":")" + name + R"("},"spec":{"nodeName":")" + node + R"(",)" + more +
                     R"("containers":[{"name":"c","image":"a"}]}})");
    REQUIRE(wait_for([&] { return api::is_ready(*get<api::Pod>(name)); }));
  }
};

}  // namespace

TEST_CASE("zones fail in part or as a whole") {
  CHECK(zone_state(3, 0) == ZoneState::Normal);
  CHECK(zone_state(1, 1) == ZoneState::Normal);  // two of three are no sign of anything yet
  CHECK(zone_state(1, 2) == ZoneState::Normal);
  CHECK(zone_state(2, 3) == ZoneState::Partial);
  CHECK(zone_state(0, 1) == ZoneState::Full);
  CHECK(eviction_pause(ZoneState::Normal, 100) == 10s);
  CHECK(eviction_pause(ZoneState::Partial, 100) == 100s);
  CHECK(eviction_pause(ZoneState::Partial, 20) == Duration::zero());
}

TEST_CASE("conditions and cordoning become taints and go again") {
  api::Node node;
  node.metadata.name = "n";
  node.spec.unschedulable = true;
  auto set = [&](const char* type, const char* status) {
    std::erase_if(node.status.conditions, [&](const auto& one) { return one.type == type; });
    api::NodeCondition& condition = node.status.conditions.emplace_back();
    condition.type = type;
    condition.status = status;
  };
  set("Ready", "False");
  set("DiskPressure", "True");
  api::Time now = api::Time::from(WallTime(std::chrono::seconds(1)));
  CHECK(set_schedule_taints(node, now));
  CHECK(has_taint(node, "node.kubernetes.io/not-ready", "NoSchedule"));
  CHECK(has_taint(node, "node.kubernetes.io/disk-pressure", "NoSchedule"));
  CHECK(has_taint(node, "node.kubernetes.io/unschedulable", "NoSchedule"));
  CHECK_FALSE(set_schedule_taints(node, now));
  set("Ready", "True");
  set("DiskPressure", "False");
  node.spec.unschedulable = false;
  CHECK(set_schedule_taints(node, now));
  CHECK(node.spec.taints.empty());
}

TEST_CASE("a silent node is Unknown, tainted and emptied; when it is heard again all of it goes") {
  World world;
  for (const char* name : {"a", "b"}) world.add_node(name);
  REQUIRE(world.wait_for([&] { return world.has_event("RegisteredNode", "Node b event: Registered Node b in Controller"); }));
  world.add_pod("plain", "a");
  world.add_pod("patient", "a", R"("tolerations":[
    {"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":20}],)");
  world.add_pod("daemon", "a", R"("tolerations":[{"key":"node.kubernetes.io/unreachable","operator":"Exists"}],)");
  world.add_pod("elsewhere", "b");

  world.pass(30s, {"a", "b"});
  CHECK(world.ready("a") == "True");
  REQUIRE(world.passes_until({"b"}, [&] { return world.ready("a") == "Unknown"; }));
  auto node = world.get<api::Node>("a");
  const api::NodeCondition* ready = find_condition(*node, "Ready");
  CHECK(ready->reason == "NodeStatusUnknown");
  CHECK(ready->message == "Kubelet stopped posting node status.");
  CHECK(find_condition(*node, "MemoryPressure")->reason == "NodeStatusNeverUpdated");
  CHECK(find_condition(*node, "DiskPressure")->reason == "NodeStatusUnknown");
  CHECK(world.tainted("a", "node.kubernetes.io/unreachable", "NoSchedule"));
  CHECK(world.tainted("a", "node.kubernetes.io/unreachable", "NoExecute"));
  CHECK(world.wait_for([&] { return world.has_event("NodeNotReady", "Node a status is now: NodeNotReady"); }));
  CHECK(world.wait_for([&] { return world.has_event("NodeNotReady", "Node is not ready"); }));
  CHECK(world.wait_for([&] { return !api::is_ready(*world.get<api::Pod>("daemon")); }));
  CHECK(api::is_ready(*world.get<api::Pod>("elsewhere")));

  // Everybody tolerates 300 s by admission, "patient" says 20.
  CHECK_FALSE(world.get<api::Pod>("patient")->metadata.deletionTimestamp);
  CHECK(world.passes_until({"b"}, [&] {
    return bool(world.get<api::Pod>("patient")->metadata.deletionTimestamp);
  }));
  CHECK(world.wait_for([&] { return world.has_event("TaintManagerEviction", "Marking for deletion Pod default/patient"); }));
  const auto pod = world.get<api::Pod>("patient");
  const api::PodCondition* target = api::find_condition(pod->status, "DisruptionTarget");
  REQUIRE(target);
  CHECK(target->reason == "DeletionByTaintManager");
  CHECK_FALSE(world.get<api::Pod>("plain")->metadata.deletionTimestamp);

  world.beat("a");
  REQUIRE(world.client.update_with_retry<api::Node>({"", "a"}, [&](api::Node& next) {
    for (api::NodeCondition& one : next.status.conditions) one.status = one.type == "Ready" ? "True" : "False";
    return true;
  }, true).ok());
  CHECK(world.wait_for([&] { return world.get<api::Node>("a")->spec.taints.empty(); }));
  CHECK(world.wait_for([&] { return world.has_event("TaintManagerEviction", "Cancelling deletion of Pod default/plain"); }));
  world.pass(300s, {"a", "b"});
  CHECK_FALSE(world.get<api::Pod>("plain")->metadata.deletionTimestamp);
  CHECK_FALSE(world.get<api::Pod>("daemon")->metadata.deletionTimestamp);
}

TEST_CASE("when every node is gone nothing is evicted, and nodes are emptied one after another") {
  World world;
  for (const char* name : {"a", "b", "c"}) world.add_node(name);
  REQUIRE(world.wait_for([&] { return world.has_event("RegisteredNode", "Node c event: Registered Node c in Controller"); }));
  SECTION("all at once") {
    world.pass(41s, {});
    for (const char* name : {"a", "b", "c"}) {
      CHECK(world.passes_until({}, [&] { return world.ready(name) == "Unknown"; }));
      CHECK(world.tainted(name, "node.kubernetes.io/unreachable", "NoSchedule"));
    }
    CHECK(world.wait_for([&] {
      auto evicting = [&](const char* name) { return has_taint(*world.get<api::Node>(name), kUnreachableTaint, "NoExecute"); };
      return !evicting("a") && !evicting("b") && !evicting("c");
    }));
  }
  SECTION("two of three") {
    for (const char* name : {"a", "b"}) REQUIRE(world.passes_until({"c"}, [&] { return world.ready(name) == "Unknown"; }));
    auto evicting = [&] {
      int count = 0;
      for (const char* name : {"a", "b"}) count += has_taint(*world.get<api::Node>(name), kUnreachableTaint, "NoExecute") ? 1 : 0;
      return count;
    };
    REQUIRE(world.wait_for([&] { return evicting() >= 1; }));
    CHECK(evicting() == 1);
    CHECK(world.passes_until({"c"}, [&] { return evicting() == 2; }));
  }
}

TEST_CASE("of too many finished pods evicted ones go first, then the oldest") {
  auto pod = [](const std::string& name, const std::string& created, const std::string& status) {
    return std::make_shared<const api::Pod>(api::from_json<api::Pod>(
        R"({"metadata":{"name":")" + name + R"(","creationTimestamp":")" + created + R"("},"status":{)" + status + "}}").value());
  };
  std::vector<client::Ref<api::Pod>> finished = {
      pod("young", "2026-01-03T00:00:00Z", R"("phase":"Succeeded")"), pod("old", "2026-01-01T00:00:00Z", R"("phase":"Failed")"),
      pod("evicted", "2026-01-04T00:00:00Z", R"("phase":"Failed","reason":"Evicted")")};
  auto names = [&](size_t keep) {
    std::vector<std::string> all;
    for (const auto& one : surplus_pods(finished, keep)) all.push_back(one->metadata.name);
    return all;
  };
  CHECK(names(1) == std::vector<std::string>{"evicted", "old"});
  CHECK(names(2) == std::vector<std::string>{"evicted"});
  CHECK(names(3).empty());
}

TEST_CASE("pods that nobody else would remove") {
  World world;
  world.add_node("n");
  SECTION("of a node that is out of service") {
    world.add_pod("p", "n", R"("tolerations":[{"operator":"Exists"}],)");
    REQUIRE(world.client.update_with_retry<api::Node>({"", "n"}, [](api::Node& next) {
      api::Taint& taint = next.spec.taints.emplace_back();
      taint.key = kOutOfServiceTaint;
      taint.value = "nodeshutdown";
      taint.effect = "NoExecute";
      return true;
    }).ok());
    REQUIRE(world.client.remove<api::Pod>({"default", "p"}, {.grace_seconds = 30}).ok());
    CHECK(world.get<api::Pod>("p"));  // the node is ready: its kubelet will do it
    REQUIRE(world.passes_until({}, [&] { return world.ready("n") == "Unknown"; }));
    CHECK(world.wait_for([&] { return !world.get<api::Pod>("p"); }));
  }
  SECTION("of a node that is no more") {
    world.add_pod("p", "n");
    REQUIRE(world.client.remove<api::Node>({"", "n"}).ok());
    CHECK(world.passes_until({}, [&] { return !world.get<api::Pod>("p"); }));
  }
}
