// Evictions and the budgets that may refuse them.

#include "api/gen/core.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/policy.hpp"
#include "api/pods.hpp"
#include "api/status.hpp"
#include "support/test_cluster.hpp"

using namespace skiff;
using Budget = api::PodDisruptionBudget;

namespace {

struct World : test::TestCluster<> {
  World() {
    create<api::Namespace>(R"({"metadata":{"name":"default"}})");
    create<api::ServiceAccount>(R"({"metadata":{"name":"default"}})");
    pod("p", true);
  }
  void pod(const std::string& name, bool ready, const std::string& phase = "Running") {
    create<api::Pod>(R"({"metadata":{"name":")" + name + R"(","labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}})");
    REQUIRE(client.update_with_retry<api::Pod>({"default", name}, [&](api::Pod& next) {
      next.status.phase = phase;
      api::PodCondition condition;
      condition.type = "Ready";
      condition.status = ready ? "True" : "False";
      api::set_condition(next.status, condition);
      return true;
    }, true).ok());
  }
  void budget(const std::string& name, int allowed, int healthy, int desired, const std::string& more = "") {
    create<Budget>(R"({"metadata":{"name":")" + name + R"("},"spec":{"selector":{"matchLabels":{"a":"b"}})" + more + "}}");
    REQUIRE(client.update_with_retry<Budget>({"default", name}, [&](Budget& next) {
      next.status.observedGeneration = next.metadata.generation;
      next.status.disruptionsAllowed = allowed;
      next.status.currentHealthy = healthy;
      next.status.desiredHealthy = desired;
      return true;
    }, true).ok());
  }
  // The message and the cause, or "" when the pod goes.
  std::string evict(const std::string& name) {
    auto eviction = std::make_shared<api::Eviction>();
    eviction->metadata.name = name;
    eviction->metadata.namespace_ = "default";
    auto answer = client.create_subresource(api::kind_of<api::Pod>(), {"default", name}, "eviction",
                                            client::AnyRef(client::Ref<api::Eviction>(eviction)));
    if (answer.ok()) return "";
    const api::StatusDetail* detail = api::detail_of(answer.error());
    return answer.error().message() + (detail && !detail->causes.empty() ? " " + detail->causes[0].message : "");
  }
};

const std::string kRefused = "Cannot evict pod as it would violate the pod's disruption budget. ";

}  // namespace

TEST_CASE("a budget lets pods go while it can") {
  World world;
  world.budget("pdb", 1, 2, 1);
  CHECK(world.evict("p") == "");
  CHECK(world.get<Budget>("pdb")->status.disruptionsAllowed == 0);
  CHECK(world.get<Budget>("pdb")->status.disruptedPods.contains("p"));
  world.pod("q", true);
  CHECK(world.evict("q") == kRefused + "The disruption budget pdb needs 1 healthy pods and has 2 currently");
  CHECK(world.get<api::Pod>("q"));
}

TEST_CASE("a budget that is behind is asked again, two of them are too many") {
  World world;
  world.budget("pdb", 1, 2, 1);
  REQUIRE(world.client.update_with_retry<Budget>({"default", "pdb"}, [](Budget& next) {
    next.spec.minAvailable = api::IntOrString(1);
    return true;
  }).ok());
  CHECK(world.evict("p") == kRefused + "The disruption budget pdb is still being processed by the server.");
  world.budget("another", 1, 2, 1);
  CHECK(world.evict("p").find("more than one PodDisruptionBudget") != std::string::npos);
}

TEST_CASE("pods that serve nobody") {
  World world;
  world.pod("waiting", false, "Pending");
  world.pod("sick", false);
  SECTION("pending ones need no budget") {
    world.budget("pdb", 0, 0, 1);
    CHECK(world.evict("waiting") == "");
    CHECK(world.evict("sick") != "");
  }
  SECTION("sick ones go where enough others are healthy") {
    world.budget("pdb", 0, 1, 1);
    CHECK(world.evict("sick") == "");
    CHECK(world.evict("p") != "");
  }
  SECTION("or always") {
    world.budget("pdb", 0, 0, 1, R"(,"unhealthyPodEvictionPolicy":"AlwaysAllow")");
    CHECK(world.evict("sick") == "");
  }
}
