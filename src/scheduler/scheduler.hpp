#pragma once
// Gives pods without a node one (kube-scheduler's default profile).

#include <string>
#include <thread>
#include <vector>

#include "base/random.hpp"
#include "client/client.hpp"
#include "client/event_recorder.hpp"
#include "client/informer.hpp"
#include "scheduler/cluster_state.hpp"
#include "scheduler/explanation.hpp"
#include "scheduler/queue.hpp"

namespace skiff::scheduler {

/// Made before Informers::start(), for it registers handlers; the informers must be stopped before it is
/// destroyed.
class Scheduler {
 public:
  struct Uses {
    client::Client& client;
    client::Informers& informers;
    Clock& clock;
    Random& random;
  };
  explicit Scheduler(const Uses& uses);
  ~Scheduler() { stop(); }

  /// Waits until nodes and pods are known, then starts to place. False when `stop` came first.
  bool start(std::stop_token stop = {});
  void stop();

  /// What each node would say to `pod` now. Any thread.
  std::vector<NodeVerdict> explain(const api::Pod& pod) const;

 private:
  struct Decision {
    PodInfoRef pod;
    std::string node;                   // empty: none fits
    std::vector<NodeVerdict> verdicts;  // then why
  };
  void pod_changed(const client::Ref<api::Pod>& before, const client::Ref<api::Pod>& now);
  void pod_gone_locked(const api::Pod& pod) REQUIRES(mutex_);
  void node_changed(const client::Ref<api::Node>& before, const client::Ref<api::Node>& now);
  void wake_locked(SchedulingQueue::Change change) REQUIRES(mutex_);

  void run(std::stop_token stop);
  /// Waits for a pod and decides where it goes; it counts there from now on. False once stopped.
  bool decide(std::stop_token stop, Decision& decision);
  void bind(const Decision& decision);
  void report_failure(const Decision& decision);
  void set_unscheduled(const api::Pod& pod, const std::string& reason, const std::string& message);

  client::Client& client_;
  Clock& clock_;
  Random& random_;
  client::Informer<api::Pod> pods_;
  client::Informer<api::Node> nodes_;
  client::EventRecorder events_;

  mutable Mutex mutex_;
  CondVar changed_;
  ClusterState cluster_ GUARDED_BY(mutex_);
  SchedulingQueue queue_ GUARDED_BY(mutex_);
  std::map<client::ObjectKey, std::string> assumed_ GUARDED_BY(mutex_);  // decided, not yet seen: UIDs
  std::vector<std::jthread> workers_;
};

}  // namespace skiff::scheduler
