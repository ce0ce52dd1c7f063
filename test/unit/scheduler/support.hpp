#pragma once

#include "api/gen/core.hpp"
#include "api/gen/nodes.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/volume.hpp"
#include "api/pods.hpp"
#include "scheduler/scheduler.hpp"
#include "support/nodes.hpp"

namespace skiff::test {

inline std::string node_json(const std::string& name, const std::string& more = "", int cpus = 4) {
  return R"({"metadata":{"name":")" + name + R"(","labels":{"kubernetes.io/hostname":")" + name + R"("}},)" +
         more + R"("status":{"allocatable":{"cpu":")" + std::to_string(cpus) +
         R"(","memory":"8Gi","pods":"110"}}})";
}
/// `spec`: what stands in the pod's spec besides one container with `requests`.
inline std::string pod_json(const std::string& name, const std::string& requests = "",
                            const std::string& spec = "", const std::string& metadata = "") {
  return R"({"metadata":{"name":")" + name + R"(")" + metadata + R"(},"spec":{)" + spec +
         R"("schedulerName":"default-scheduler","containers":[{"name":"c","image":"a","resources":{"requests":{)" +
         requests + "}}}]}}";
}

/// The scheduler over a cluster in memory.
template <class Time = FakeClock>
class ScheduledCluster : public TestCluster<Time> {
 public:
  explicit ScheduledCluster(std::vector<scheduler::Profile> profiles = {scheduler::Profile()})
      : scheduler({this->client, this->informers, this->clock, this->random}, std::move(profiles)) {
    this->template start<api::Pod, api::Node, api::Event, api::PersistentVolumeClaim, api::PersistentVolume>();
    this->template create<api::Namespace>(R"({"metadata":{"name":"default"}})");
    this->template create<api::ServiceAccount>(R"({"metadata":{"name":"default"}})");
    REQUIRE(scheduler.start());
  }
  ~ScheduledCluster() {
    this->informers.stop();
    scheduler.stop();
  }
  /// Creates a node and waits until the scheduler knows it, or a pod created next could be refused first.
  void add_node(const std::string& json) {
    const api::Node node = create_ready_node(*this, json);
    api::Pod tolerant;  // of what the node keeps, so that it shows when the greeting taint is gone for the scheduler too
    for (const api::Taint& taint : node.spec.taints) tolerant.spec.tolerations.push_back(toleration_of(taint));
    REQUIRE(this->wait_for([&] {
      auto verdicts = scheduler.explain(tolerant).verdicts;
      return std::any_of(verdicts.begin(), verdicts.end(), [&](const auto& verdict) {
        return verdict.node == node.metadata.name && verdict.filter != "TaintToleration";
      });
    }));
  }
  std::string node_of(const std::string& pod) { return this->template get<api::Pod>(pod)->spec.nodeName; }
  [[nodiscard]] bool is_placed(const std::string& pod) {
    return this->wait_for([&] { return !node_of(pod).empty(); });
  }
  /// The message of PodScheduled once the pod was refused; "" when it never was.
  std::string refusal(const std::string& pod) {
    std::string message;
    static_cast<void>(this->wait_for([&] {
      auto now = this->template get<api::Pod>(pod);
      const api::PodCondition* condition = api::find_condition(now->status, "PodScheduled");
      if (condition && condition->status == "False") message = condition->message;
      return !message.empty();
    }));
    return message;
  }

 private:
  static api::Toleration toleration_of(const api::Taint& taint) {
    api::Toleration toleration;
    toleration.key = taint.key;
    toleration.operator_ = "Exists";
    toleration.effect = taint.effect;
    return toleration;
  }

 public:
  scheduler::Scheduler scheduler;
};

}  // namespace skiff::test
