// How many pods a second are placed: decisions alone (filter, score, count), and bound through an API server in memory.
// bench_scheduler [PODS]

#include <fmt/core.h>

#include <cstdlib>

#include "api/gen/core.hpp"
#include "api/json.hpp"
#include "registry/registry.hpp"
#include "scheduler/filters.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/scores.hpp"

using namespace skiff;
using namespace skiff::scheduler;

namespace {

std::string node_json(int i) {
  return fmt::format(R"({{"metadata":{{"name":"node-{0}","labels":{{"kubernetes.io/hostname":"node-{0}",
    "topology.kubernetes.io/zone":"zone-{1}"}}}},"status":{{"allocatable":{{"cpu":"32","memory":"256Gi","pods":"110"}}}}}})", i, i % 3);
}

// `neighbours`: spread over hosts and zones, and kept apart from another application.
std::string pod_json(int i, bool neighbours) {
  const char* rules = R"("topologySpreadConstraints":[
      {"maxSkew":2,"topologyKey":"topology.kubernetes.io/zone","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":"a"}}},
      {"maxSkew":1,"topologyKey":"kubernetes.io/hostname","whenUnsatisfiable":"ScheduleAnyway","labelSelector":{"matchLabels":{"app":"a"}}}],
    "affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[
      {"topologyKey":"kubernetes.io/hostname","labelSelector":{"matchLabels":{"app":"other"}}}]}},)";
  return fmt::format(R"({{"metadata":{{"name":"p{}","namespace":"default","labels":{{"app":"a"}},"ownerReferences":[
    {{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"a","uid":"1","controller":true}}]}},"spec":{{{}
    "schedulerName":"default-scheduler","containers":[{{"name":"c","image":"i","resources":{{"requests":{{"cpu":"100m","memory":"64Mi"}}}}}}]}}}})",
                     i, neighbours ? rules : "");
}

double seconds_since(TimePoint began) {
  return std::chrono::duration<double>(SystemClock().now() - began).count();
}

void decide(int nodes, int pods, bool neighbours) {
  ClusterState cluster;
  for (int i = 0; i < nodes; ++i)
    cluster.set_node(std::make_shared<api::Node>(api::from_json<api::Node>(node_json(i)).value()));
  std::vector<PodInfoRef> waiting;
  for (int i = 0; i < pods; ++i)
    waiting.push_back(std::make_shared<PodInfo>(std::make_shared<api::Pod>(api::from_json<api::Pod>(pod_json(i, neighbours)).value())));
  const PodVolumes none;
  TimePoint began = SystemClock().now();
  for (const PodInfoRef& pod : waiting) {
    const Filtering filtering(*pod, cluster, none);
    NodeStates fitting;
    for (const NodeState* node : cluster.nodes())
      if (filtering.check(*node).reasons.empty()) fitting.push_back(node);
    if (fitting.empty()) continue;
    cluster.set_pod(pod, best_nodes(*pod, cluster, filtering.topology(), fitting)[0]->node->metadata.name);
  }
  double took = seconds_since(began);
  fmt::print("decisions, {:5} nodes, {:6} pods{}: {:8.0f} pods/s ({:.3f} s)\n", nodes, pods,
             neighbours ? ", spread and anti-affinity" : "", pods / took, took);
}

void bind(int nodes, int pods, bool neighbours) {
  SystemClock clock;
  SeededRandom random{1};
  std::unique_ptr<store::Store> store = store::Store::open({}).value();
  registry::Registry registry(*store, clock, random);
  client::Client& client = registry.local_client();
  client::Informers informers(client, clock);
  auto must = [](const auto& result) {
    if (!result.ok()) fmt::print(stderr, "{}\n", result.error().message()), std::exit(1);
  };
  must(client.create(api::from_json<api::Namespace>(R"({"metadata":{"name":"default"}})").value()));
  must(client.create(api::from_json<api::ServiceAccount>(R"({"metadata":{"name":"default","namespace":"default"}})").value()));
  for (int i = 0; i < nodes; ++i) {
    auto created = client.create(api::from_json<api::Node>(node_json(i)).value());
    must(created);
    must(client.update_with_retry<api::Node>(client::key_of(*created.value()), [](api::Node& next) {
      bool greeted = !next.spec.taints.empty();  // admission's not-ready
      next.spec.taints.clear();
      return greeted;
    }));
  }
  for (int i = 0; i < pods; ++i) must(client.create(api::from_json<api::Pod>(pod_json(i, neighbours)).value()));
  Scheduler scheduler({client, informers, clock, random});
  Mutex mutex;
  CondVar changed;
  int bound = 0;
  informers.of<api::Pod>().on_change([&](const auto& before, const auto& now) {
    if (!now || now->spec.nodeName.empty() || (before && !before->spec.nodeName.empty())) return;
    MutexLock lock(mutex);
    if (++bound == pods) changed.notify_all();
  });
  informers.start();
  if (!informers.wait_synced({})) return;
  TimePoint began = clock.now();
  scheduler.start();
  {
    MutexLock lock(mutex);
    changed.wait_for(mutex, std::chrono::seconds(120), [&] { return bound == pods; });
  }
  double took = seconds_since(began);
  fmt::print("bound,     {:5} nodes, {:6} pods{}: {:8.0f} pods/s ({:.3f} s){}\n", nodes, pods,
             neighbours ? ", spread and anti-affinity" : "", pods / took, took, bound == pods ? "" : " NOT ALL");
  informers.stop();
  scheduler.stop();
}

}  // namespace

int main(int argc, char** argv) {
  const int pods = argc > 1 ? std::atoi(argv[1]) : 1000;
  double load = 0;
  if (::getloadavg(&load, 1) == 1) fmt::print("load {:.1f}\n", load);
  decide(100, pods * 5, false);
  decide(1000, pods * 5, true);
  bind(100, pods, false);
  bind(100, pods * 5, false);
  bind(1000, pods, true);
}
