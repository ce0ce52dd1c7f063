// Random events in a random order, from a seed: what controllers promise holds at every single change, and in the end
// the world is as wished. SKIFF_FAULT_SEEDS=N plays more seeds.

#include "faults.hpp"

using namespace skiff;
using test::ControlledCluster;
using test::fault_seeds;
using test::PodWatcher;

namespace {

bool change_deployment(ControlledCluster<>& cluster, const std::function<void(api::Deployment&)>& change) {
  return cluster.client.update_with_retry<api::Deployment>({"default", "d"}, [&](api::Deployment& next) {
    change(next);
    return true;
  }).ok();
}

}  // namespace

TEST_CASE("a rollout never has too many or too few pods, whatever comes in between", "[faults]") {
  constexpr int kReplicas = 6, kSurge = 2, kUnavailable = 1;
  for (int seed = 1; seed <= fault_seeds(); ++seed) DYNAMIC_SECTION("seed " << seed) {
    SeededRandom random(static_cast<std::uint64_t>(seed));
    ControlledCluster<> cluster;
    cluster.create<api::Deployment>(R"({"metadata":{"name":"d"},"spec":{"replicas":6,"selector":{"matchLabels":{"app":"d"}},
      "strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":2,"maxUnavailable":1}},
      "template":{"metadata":{"labels":{"app":"d","kubelet":"none"}},"spec":{"containers":[{"name":"c","image":"v:0"}]}}}})");
    auto pods = [&] { return cluster.list<api::Pod>("app=d"); };
    auto ready_all = [&] {
      for (const auto& pod : pods())
        if (!api::is_ready(*pod)) cluster.make_ready(pod->metadata.name, true);
    };
    REQUIRE(cluster.wait_for([&] { return pods().size() == kReplicas; }));
    ready_all();
    REQUIRE(cluster.wait_for([&] { return cluster.get<api::Deployment>("d")->status.availableReplicas == kReplicas; }));
    PodWatcher watcher(cluster, [](const PodWatcher::Pods& all) -> std::string {
      int active = 0, available = 0;
      for (const auto& [name, pod] : all) {
        if (pod->metadata.deletionTimestamp) continue;
        ++active;
        available += api::is_ready(*pod) ? 1 : 0;
      }
      if (active > kReplicas + kSurge) return fmt::format("{} pods", active);
      if (available < kReplicas - kUnavailable) return fmt::format("{} available", available);
      return "";
    });
    watcher.begin();
    for (int step = 0; step < 40; ++step) {
      switch (random.below(4)) {
        case 0:
          REQUIRE(change_deployment(cluster, [&](api::Deployment& next) {
            next.spec.template_.spec.containers[0].image = "v:" + std::to_string(random.below(4));
          }));
          break;
        case 1:  // a writer of its own mind
          REQUIRE(change_deployment(cluster, [&](api::Deployment& next) {
            next.metadata.annotations["note"] = std::to_string(step);
          }));
          break;
        default: {
          auto all = pods();
          const auto& pod = all[random.below(all.size())];
          if (!api::is_ready(*pod)) cluster.make_ready(pod->metadata.name, true);
        }
      }
    }
    REQUIRE(change_deployment(cluster, [](api::Deployment& next) { next.spec.template_.spec.containers[0].image = "v:end"; }));
    CHECK(cluster.wait_for([&] {
      ready_all();
      auto status = cluster.get<api::Deployment>("d")->status;
      auto all = pods();
      return status.updatedReplicas == kReplicas && status.availableReplicas == kReplicas && all.size() == kReplicas &&
             std::all_of(all.begin(), all.end(), [](const auto& pod) { return pod->spec.containers[0].image == "v:end"; });
    }));
    for (const std::string& problem : watcher.problems()) FAIL_CHECK(problem);
  }
}

TEST_CASE("a job counts each pod once, whatever happens to its pods", "[faults]") {
  for (int seed = 1; seed <= fault_seeds(); ++seed) DYNAMIC_SECTION("seed " << seed) {
    SeededRandom random(static_cast<std::uint64_t>(seed));
    ControlledCluster<test::FakeClock> cluster;
    cluster.create<api::Job>(R"({"metadata":{"name":"j"},"spec":{"parallelism":4,"completions":12,"completionMode":"Indexed",
      "backoffLimitPerIndex":100,"template":{"metadata":{"labels":{"kubelet":"none"}},
      "spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"a"}]}}}})");
    int ended = 0;
    auto complete = [&] {
      auto job = cluster.get<api::Job>("j");
      for (const auto& one : job->status.conditions)
        if (one.type == "Complete" && one.status == "True") return true;
      return false;
    };
    auto play = [&] {
      cluster.clock.advance(20min);  // past every backoff
      for (const auto& pod : cluster.list<api::Pod>("job-name=j")) {
        if (!api::is_active(*pod) || ended > 200) continue;
        ++ended;
        if (random.below(6) == 0) {  // somebody deletes it
          static_cast<void>(cluster.client.remove<api::Pod>(client::key_of(*pod), {.grace_seconds = 0}).ok());
          continue;
        }
        static_cast<void>(cluster.client.update_with_retry<api::Pod>(client::key_of(*pod), [](api::Pod& next) {
          if (next.metadata.deletionTimestamp) return false;
          next.status.phase = "Succeeded";
          return true;
        }, true).ok());
      }
      return complete();
    };
    bool done = false;
    for (int i = 0; i < 300 && !done; ++i) done = cluster.wait_for(play, 20ms);
    CHECK(done);
    auto job = cluster.get<api::Job>("j");
    CHECK(job->status.succeeded == 12);
    CHECK(job->status.completedIndexes == "0-11");
    std::map<std::string, int> by_index;
    for (const auto& pod : cluster.list<api::Pod>("job-name=j"))
      if (pod->status.phase == "Succeeded") ++by_index[pod->metadata.labels.at("batch.kubernetes.io/job-completion-index")];
    for (const auto& [index, count] : by_index) CHECK(count == 1);
    CHECK(cluster.wait_for([&] {
      cluster.clock.advance(1s);
      auto all = cluster.list<api::Pod>("job-name=j");
      return std::all_of(all.begin(), all.end(), [](const auto& pod) { return pod->metadata.finalizers.empty(); });
    }));
  }
}
