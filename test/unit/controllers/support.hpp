#pragma once

#include "api/gen/apiextensions.hpp"
#include "api/gen/apps.hpp"
#include "api/gen/autoscaling.hpp"
#include "api/gen/batch.hpp"
#include "api/gen/coordination.hpp"
#include "api/gen/core.hpp"
#include "api/gen/discovery.hpp"
#include "api/gen/nodes.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/policy.hpp"
#include "api/gen/service.hpp"
#include "api/gen/volume.hpp"
#include "api/pods.hpp"
#include "controllers/controllers.hpp"
#include "controllers/scaling_metrics.hpp"
#include "support/nodes.hpp"

namespace skiff::test {

inline api::PodCondition ready_condition(bool ready, api::Time since) {
  api::PodCondition condition;
  condition.type = "Ready";
  condition.status = ready ? "True" : "False";
  condition.lastTransitionTime = since;
  return condition;
}

/// Directories by name only.
class FakeDirectories final : public controllers::VolumeDirectories {
 public:
  Result<std::string> make(const std::string& volume) override {
    MutexLock lock(mutex_);
    if (full) return Error(Code::Unavailable, "disk is full");
    made.insert("/volumes/" + volume);
    return "/volumes/" + volume;
  }
  Status remove(const std::string& path) override {
    MutexLock lock(mutex_);
    if (!path.starts_with("/volumes/")) return Error(Code::Forbidden, path);
    made.erase(path);
    return ok();
  }
  Status empty(const std::string& path) override {
    MutexLock lock(mutex_);
    emptied.insert(path);
    return ok();
  }
  bool has(const std::string& path) {
    MutexLock lock(mutex_);
    return made.contains(path);
  }

  std::atomic<bool> full = false;

 private:
  Mutex mutex_;
  std::set<std::string> made, emptied;
};

/// Numbers for autoscalers, the same whatever they are asked of; none until they are set.
class FakeMetrics final : public controllers::CustomMetrics {
 public:
  Result<controllers::PodUsages> of_pods(const std::string&, const api::Selector&, const api::MetricIdentifier&) override {
    MutexLock lock(mutex_);
    if (pods_.empty()) return Error(Code::NotFound, "no metrics returned from custom metrics API");
    return pods_;
  }
  Result<std::int64_t> of_object(const std::string&, const api::CrossVersionObjectReference&, const api::MetricIdentifier&) override {
    return number("custom");
  }
  Result<std::int64_t> external(const std::string&, const api::MetricIdentifier&) override { return number("external"); }

  void set(std::int64_t milli) {
    MutexLock lock(mutex_);
    number_ = milli;
  }
  void set(const std::string& pod, std::int64_t milli) {
    MutexLock lock(mutex_);
    pods_[pod].milli = milli;
  }

 private:
  Result<std::int64_t> number(const char* from) {
    MutexLock lock(mutex_);
    if (!number_) return error(Code::NotFound, "no metrics returned from {} metrics API", from);
    return *number_;
  }
  Mutex mutex_;
  controllers::PodUsages pods_;
  std::optional<std::int64_t> number_;
};

/// The controllers over a cluster in memory, and a stand-in for kubelets: pods get an address and become
/// ready unless they have the label `kubelet`. Conflicts are retried after a backoff, so most tests let real
/// time pass.
template <class Time = SystemClock>
class ControlledCluster : public TestCluster<Time> {
 public:
  ControlledCluster() {
    this->informers.template of<api::Pod>().on_change(
        [this](const client::Ref<api::Pod>&, const client::Ref<api::Pod>& now) {
          if (now && now->status.podIP.empty() && !now->metadata.labels.contains("kubelet"))
            make_ready(now->metadata.name, true);
        });
    this->template start<api::Pod, api::ReplicaSet, api::Deployment, api::Namespace, api::EndpointSlice,
                         api::Endpoints, api::ServiceAccount, api::ConfigMap, api::Event,
                         api::ReplicationController, api::Job, api::DaemonSet, api::StatefulSet, api::CronJob,
                         api::PodDisruptionBudget, api::CustomResourceDefinition, api::ResourceQuota,
                         api::PersistentVolumeClaim, api::PersistentVolume, api::Node, api::Lease, api::HorizontalPodAutoscaler>();
    REQUIRE(controllers.start());
    this->template create<api::Namespace>(R"({"metadata":{"name":"default"}})");
    REQUIRE(this->wait_for([&] { return this->template get<api::ServiceAccount>("default") != nullptr; }));
  }
  ~ControlledCluster() {
    this->informers.stop();
    controllers.stop();
  }

  void make_ready(const std::string& name, bool ready) {
    auto updated = this->client.template update_with_retry<api::Pod>(
        {"default", name},
        [&](api::Pod& pod) {
          pod.status.phase = "Running";
          if (pod.status.podIP.empty()) {
            pod.status.podIP = "10.0.0." + std::to_string(++addresses_);
            pod.status.podIPs.emplace_back().ip = pod.status.podIP;
          }
          api::set_condition(pod.status, ready_condition(ready, api::Time::from(this->clock.wall_now())));
          return true;
        },
        true);
    static_cast<void>(updated.ok());  // the pod may be gone again
  }
  FakeDirectories directories;
  FakeMetrics metrics;

  bool has_event(const std::string& reason, const std::string& message) {
    for (const auto& event : this->template list<api::Event>())
      if (event->reason == reason && event->message == message) return true;
    return false;
  }

 private:
  std::atomic<int> addresses_ = 0;
  controllers::Controllers controllers{{this->client, this->informers, this->clock, this->random},
                                       {.root_ca = "PEM", .served = this->served, .directories = &directories,
                                        .custom_metrics = &metrics}};
};

}  // namespace skiff::test
