// Controllers whose watches tell things late, twice or only by a new list, whose writes meet other writers, whose nodes hang
// and whose pods are evicted: from seeds. SKIFF_FAULT_SEEDS=N plays more of them.

#include "faults.hpp"
#include "support/flaky_client.hpp"

using namespace skiff;
using test::fault_seeds;
using test::PodWatcher;

namespace {

std::string workload(const std::string& name, const std::string& spec) {
  return R"({"metadata":{"name":")" + name + R"("},"spec":{)" + spec + R"("selector":{"matchLabels":{"app":")" + name +
         R"("}},"template":{"metadata":{"labels":{"app":")" + name + R"(","kubelet":"none"}},"spec":{"containers":[
         {"name":"c","image":"v:0"}]}}}})";
}

// Controllers that see the world through a flaky client; the test looks at it directly.
class FaultyCluster : public test::TestCluster<SystemClock> {
 public:
  explicit FaultyCluster(std::uint64_t seed) : flaky_(client, seed) {
    controllers_ = std::make_unique<controllers::Controllers>(
        controllers::Controllers::Uses{flaky_, flaky_informers_, clock, random},
        controllers::ControllersOptions{.root_ca = "PEM", .served = served});
    start<api::Pod, api::ReplicaSet, api::Deployment, api::StatefulSet, api::Job, api::ControllerRevision, api::ServiceAccount>();
    flaky_informers_.start();
    REQUIRE(controllers_->start());
    create<api::Namespace>(R"({"metadata":{"name":"default"}})");
    REQUIRE(wait_for([&] { return get<api::ServiceAccount>("default") != nullptr; }));
  }
  ~FaultyCluster() {
    flaky_informers_.stop();
    controllers_->stop();
  }
  template <class T>
  bool change(const std::string& name, const std::function<void(T&)>& how) {
    return client.update_with_retry<T>({"default", name}, [&](T& next) {
      how(next);
      return true;
    }).ok();
  }
  void set_ready(const api::Pod& pod, const std::string& phase = "Running") {
    static_cast<void>(client.update_with_retry<api::Pod>(client::key_of(pod), [&](api::Pod& next) {
      if (next.metadata.uid != pod.metadata.uid || api::is_finished(next)) return false;
      next.status.phase = phase;
      api::set_condition(next.status, test::ready_condition(phase == "Running", api::Time::from(clock.wall_now())));
      return true;
    }, true).ok());
  }
  // Every pod runs, those of jobs to their end.
  void play_kubelet() {
    for (const auto& pod : list<api::Pod>()) {
      if (pod->metadata.deletionTimestamp || api::is_finished(*pod) || api::is_ready(*pod)) continue;
      set_ready(*pod, pod->metadata.labels.contains("job-name") ? "Succeeded" : "Running");
    }
  }
  // Nobody announces that the kubelet's turn has come: what it waits for changes by its own doing.
  bool comes_to(const std::function<bool()>& condition) {
    for (int i = 0; i < 400; ++i) {
      play_kubelet();
      if (wait_for(condition, 50ms)) return true;
    }
    return false;
  }

 private:
  test::FlakyClient flaky_;
  client::Informers flaky_informers_{flaky_, clock};
  std::unique_ptr<controllers::Controllers> controllers_;
};

void upset(FaultyCluster& cluster, Random& random) {
  const std::string image = "v:" + std::to_string(random.below(3));
  switch (random.below(6)) {
    case 0:
      cluster.change<api::Deployment>("d", [&](api::Deployment& next) { next.spec.template_.spec.containers[0].image = image; });
      break;
    case 1:
      cluster.change<api::StatefulSet>("s", [&](api::StatefulSet& next) { next.spec.template_.spec.containers[0].image = image; });
      break;
    case 2:
      cluster.change<api::Deployment>("d", [&](api::Deployment& next) { next.spec.replicas = static_cast<int>(random.below(6)); });
      break;
    case 3:
      cluster.change<api::StatefulSet>("s", [&](api::StatefulSet& next) { next.spec.replicas = static_cast<int>(random.below(4)); });
      break;
    default: {
      auto all = cluster.list<api::Pod>();
      if (all.empty()) break;
      const auto& pod = all[random.below(all.size())];
      if (random.below(3) == 0) static_cast<void>(cluster.client.remove<api::Pod>(client::key_of(*pod), {.grace_seconds = 0}).ok());
      else if (!pod->metadata.labels.contains("job-name")) cluster.set_ready(*pod);
    }
  }
}

}  // namespace

TEST_CASE("all converges though events come late, twice or not at all, and others write, too", "[faults]") {
  for (int seed = 1; seed <= fault_seeds(); ++seed) DYNAMIC_SECTION("seed " << seed) {
    SeededRandom random(static_cast<std::uint64_t>(seed));
    FaultyCluster cluster(static_cast<std::uint64_t>(seed));
    cluster.create<api::Deployment>(workload("d", R"("replicas":3,)"));
    cluster.create<api::StatefulSet>(workload("s", R"("replicas":2,"serviceName":"s",)"));
    cluster.create<api::Job>(R"({"metadata":{"name":"j"},"spec":{"parallelism":3,"completions":7,"completionMode":"Indexed",
      "backoffLimit":1000,"template":{"metadata":{"labels":{"kubelet":"none"}},"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"a"}]}}}})");
    for (int step = 0; step < 30; ++step) upset(cluster, random);
    REQUIRE(cluster.change<api::Deployment>("d", [](api::Deployment& next) {
      next.spec.replicas = 4;
      next.spec.template_.spec.containers[0].image = "v:end";
    }));
    REQUIRE(cluster.change<api::StatefulSet>("s", [](api::StatefulSet& next) {
      next.spec.replicas = 3;
      next.spec.template_.spec.containers[0].image = "v:end";
    }));
    auto as_wished = [&](const std::string& app, size_t count) {
      auto pods = cluster.list<api::Pod>("app=" + app);
      return pods.size() == count && std::all_of(pods.begin(), pods.end(), [](const auto& pod) {
               return api::is_ready(*pod) && !pod->metadata.deletionTimestamp && pod->spec.containers[0].image == "v:end";
             });
    };
    CHECK(cluster.comes_to([&] {
      auto d = cluster.get<api::Deployment>("d");
      return as_wished("d", 4) && d->status.availableReplicas == 4 && d->status.updatedReplicas == 4 && d->status.replicas == 4 &&
             d->status.observedGeneration == d->metadata.generation;
    }));
    CHECK(cluster.comes_to([&] {
      auto s = cluster.get<api::StatefulSet>("s");
      return as_wished("s", 3) && s->status.readyReplicas == 3 && s->status.currentRevision == s->status.updateRevision;
    }));
    // Pods that were deleted count as failed and are tried again after ten seconds at least: by then the job is done.
    CHECK(cluster.comes_to([&] {
      auto j = cluster.get<api::Job>("j");
      return j->status.active == 0 || j->status.succeeded == 7;
    }));
    auto j = cluster.get<api::Job>("j");
    CHECK(j->status.succeeded <= 7);

    // What goes takes all that is its with it.
    REQUIRE(cluster.client.remove<api::Deployment>({"default", "d"}, {.propagation = "Background"}).ok());
    REQUIRE(cluster.client.remove<api::StatefulSet>({"default", "s"}, {.propagation = "Foreground"}).ok());
    REQUIRE(cluster.client.remove<api::Job>({"default", "j"}, {.propagation = "Background"}).ok());
    CHECK(cluster.comes_to([&] {
      return cluster.list<api::Pod>().empty() && cluster.list<api::ReplicaSet>().empty() &&
             cluster.list<api::ControllerRevision>().empty() && !cluster.get<api::StatefulSet>("s");
    }));
  }
}

TEST_CASE("evictions from all sides never take more than the budget allows", "[faults]") {
  constexpr int kReplicas = 6, kLeast = 4;
  for (int seed = 1; seed <= fault_seeds(); ++seed) DYNAMIC_SECTION("seed " << seed) {
    test::ControlledCluster<> cluster;
    cluster.create<api::Deployment>(workload("d", R"("replicas":6,)"));
    cluster.create<api::PodDisruptionBudget>(
        R"({"metadata":{"name":"b"},"spec":{"minAvailable":4,"selector":{"matchLabels":{"app":"d"}}}})");
    auto pods = [&] { return cluster.list<api::Pod>("app=d"); };
    auto ready_all = [&] {
      for (const auto& pod : pods())
        if (!api::is_ready(*pod)) cluster.make_ready(pod->metadata.name, true);
    };
    REQUIRE(cluster.wait_for([&] { return pods().size() == kReplicas; }));
    ready_all();
    REQUIRE(cluster.wait_for([&] { return cluster.get<api::PodDisruptionBudget>("b")->status.disruptionsAllowed == 2; }));
    PodWatcher watcher(cluster, [](const PodWatcher::Pods& all) -> std::string {
      auto available = std::count_if(all.begin(), all.end(), [](const auto& entry) {
        return !entry.second->metadata.deletionTimestamp && api::is_ready(*entry.second);
      });
      return available < kLeast ? fmt::format("{} available", available) : "";
    });
    watcher.begin();
    std::atomic<int> evicted = 0, refused = 0;
    auto drain = [&](std::uint64_t own_seed) {
      SeededRandom random(own_seed);
      for (int i = 0; i < 40; ++i) {
        auto all = pods();
        const std::string name = all[random.below(all.size())]->metadata.name;
        auto eviction = std::make_shared<api::Eviction>();
        eviction->metadata.name = name;
        eviction->metadata.namespace_ = "default";
        bool done = cluster.client.create_subresource(api::kind_of<api::Pod>(), {"default", name}, "eviction",
                                                      client::AnyRef(client::Ref<api::Eviction>(eviction))).ok();
        ++(done ? evicted : refused);
        if (random.below(3) == 0) ready_all();
      }
    };
    {
      std::vector<std::jthread> drains;
      for (std::uint64_t i = 0; i < 3; ++i) drains.emplace_back(drain, static_cast<std::uint64_t>(seed) * 10 + i);
    }
    CHECK(evicted > 0);
    CHECK(refused > 0);
    CHECK(cluster.wait_for([&] {
      ready_all();
      return cluster.get<api::PodDisruptionBudget>("b")->status.currentHealthy == kReplicas;
    }));
    for (const std::string& problem : watcher.problems()) FAIL_CHECK(problem);
  }
}

namespace {

// Two nodes with kubelets of the test's own, which hang at times: then what they run runs on, and nobody hears of it.
class HangingNodes : public test::ControlledCluster<test::FakeClock> {
 public:
  HangingNodes() {
    create<api::Namespace>(R"({"metadata":{"name":"kube-node-lease"}})");
    for (const auto& [name, node] : nodes_) {
      test::create_ready_node(*this, R"({"metadata":{"name":")" + name + R"("},"status":{"conditions":[{"type":"Ready","status":"True"}]}})");
      create<api::Lease>(R"({"metadata":{"name":")" + name + R"(","namespace":"kube-node-lease"},"spec":{"holderIdentity":")" + name + R"("}})");
    }
  }
  void set_hanging(const std::string& node, bool hangs) { nodes_.at(node).hangs = hangs; }

  // The scheduler and every kubelet have their turn.
  void play(Random& dice) {
    for (const auto& pod : list<api::Pod>("app=s")) {
      if (pod->spec.nodeName.empty()) place(*pod, dice);
      else if (Node& node = nodes_.at(pod->spec.nodeName); !node.hangs) tend(node, *pod);
    }
    for (auto& [name, node] : nodes_)
      if (!node.hangs) beat(name);
  }
  // As processes: how often each pod's name runs, wherever.
  std::map<std::string, int> running() const {
    std::map<std::string, int> counts;
    for (const auto& [name, node] : nodes_)
      for (const auto& [uid, pod] : node.runs) ++counts[pod];
    return counts;
  }

 private:
  struct Node {
    bool hangs = false;
    std::map<std::string, std::string> runs;  // UIDs and names
  };
  void place(const api::Pod& pod, Random& dice) {
    auto node = std::next(nodes_.begin(), static_cast<std::ptrdiff_t>(dice.below(nodes_.size())));
    if (node->second.hangs || pod.metadata.deletionTimestamp) return;
    auto binding = std::make_shared<api::Binding>();
    binding->metadata.name = pod.metadata.name;
    binding->metadata.namespace_ = "default";
    binding->target.kind = "Node";
    binding->target.name = node->first;
    static_cast<void>(client.create_subresource(api::kind_of<api::Pod>(), client::key_of(pod), "binding",
                                                client::AnyRef(client::Ref<api::Binding>(binding))).ok());
  }
  void tend(Node& node, const api::Pod& pod) {
    if (pod.metadata.deletionTimestamp) {
      node.runs.erase(pod.metadata.uid);
      static_cast<void>(client.remove<api::Pod>(client::key_of(pod), {.grace_seconds = 0, .uid = pod.metadata.uid}).ok());
      return;
    }
    node.runs[pod.metadata.uid] = pod.metadata.name;
    make_ready(pod.metadata.name, true);
  }
  void beat(const std::string& name) {
    static_cast<void>(client.update_with_retry<api::Lease>({"kube-node-lease", name}, [&](api::Lease& lease) {
      lease.spec.renewTime = api::MicroTime::from(clock.wall_now());
      return true;
    }).ok());
    static_cast<void>(client.update_with_retry<api::Node>({"", name}, [&](api::Node& node) {
      for (api::NodeCondition& one : node.status.conditions) {
        if (one.type != "Ready" || one.status == "True") continue;
        one.status = "True";
        one.lastHeartbeatTime = api::Time::from(clock.wall_now());
        return true;
      }
      return false;
    }, true).ok());
  }

  std::map<std::string, Node> nodes_ = {{"a", {}}, {"b", {}}, {"c", {}}};
};

}  // namespace

TEST_CASE("no pod of a stateful set ever runs twice, whatever nodes hang", "[faults]") {
  for (int seed = 1; seed <= fault_seeds(); ++seed) DYNAMIC_SECTION("seed " << seed) {
    SeededRandom random(static_cast<std::uint64_t>(seed));
    HangingNodes world;
    world.create<api::StatefulSet>(R"({"metadata":{"name":"s"},"spec":{"replicas":3,"serviceName":"s","podManagementPolicy":"Parallel",
      "selector":{"matchLabels":{"app":"s"}},"template":{"metadata":{"labels":{"app":"s","kubelet":"none"}},"spec":{"tolerations":[
      {"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":10}],
      "containers":[{"name":"c","image":"v:0"}]}}}})");
    auto look = [&] {
      world.play(random);
      for (const auto& [name, count] : world.running())
        if (count > 1) FAIL_CHECK(name << " runs " << count << " times");
    };
    for (int step = 0; step < 60; ++step) {
      const std::string node(1, static_cast<char>('a' + random.below(3)));
      switch (random.below(6)) {
        case 0: world.set_hanging(node, true); break;
        case 1: world.set_hanging(node, false); break;
        case 2:
          static_cast<void>(world.client.update_with_retry<api::StatefulSet>({"default", "s"}, [&](api::StatefulSet& next) {
            next.spec.template_.spec.containers[0].image = "v:" + std::to_string(random.below(3));
            return true;
          }).ok());
          break;
        case 3: {
          const std::string pod = "s-" + std::to_string(random.below(3));
          static_cast<void>(world.client.remove<api::Pod>({"default", pod}, {.grace_seconds = 5}).ok());
          break;
        }
        default: world.clock.advance(15s);
      }
      static_cast<void>(world.wait_for([] { return false; }, 2ms));  // let the controllers have a word
      look();
    }
    for (const char* node : {"a", "b", "c"}) world.set_hanging(node, false);
    bool well = false;
    for (int i = 0; i < 300 && !well; ++i) {
      look();
      well = world.wait_for([&] {
        auto s = world.get<api::StatefulSet>("s");
        return s->status.readyReplicas == 3 && s->status.currentRevision == s->status.updateRevision && s->status.updatedReplicas == 3;
      }, 20ms);
      world.clock.advance(5s);
    }
    CHECK(well);
    CHECK(world.running() == std::map<std::string, int>{{"s-0", 1}, {"s-1", 1}, {"s-2", 1}});
  }
}
