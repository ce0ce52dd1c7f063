#pragma once
// Gives pods without a node one (kube-scheduler).

#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "base/random.hpp"
#include "client/client.hpp"
#include "client/event_recorder.hpp"
#include "client/informer.hpp"
#include "scheduler/cluster_state.hpp"
#include "scheduler/explanation.hpp"
#include "scheduler/preemption.hpp"
#include "scheduler/queue.hpp"
#include "scheduler/scores.hpp"
#include "scheduler/volumes.hpp"

namespace skiff::scheduler {

/// Pods choose one by spec.schedulerName.
struct Profile {
  std::string name = "default-scheduler";
  Packing packing = Packing::LeastAllocated;
};

/// "packed=MostAllocated,...": profiles beside the default one. Invalid: with what is wrong.
Result<std::vector<Profile>> parse_profiles(const std::string& text);

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
  explicit Scheduler(const Uses& uses, std::vector<Profile> profiles = {Profile()});
  ~Scheduler() { stop(); }

  /// Waits until nodes, pods and volumes are known, then starts to place. False when `stop` came first.
  bool start(std::stop_token stop = {});
  void stop();

  /// What each node would say to `pod` now. Any thread.
  Refusal explain(const api::Pod& pod) const;

 private:
  struct Decision {
    PodInfoRef pod;
    std::string node;                // empty: none fits, and `refusal` says why
    VolumePlan volumes;              // to be written first
    bool volumes_written = false;
    TimePoint patience = {};         // for volumes to be bound
    Refusal refusal;
    std::optional<Victims> victims;  // whom to push aside
  };
  struct Nomination {
    std::string node;
    PodInfoRef pod;
  };

  // What the informers tell (scheduler_events.cpp).
  void watch_pods_and_nodes(client::Informers& informers);
  void watch_volumes();
  void pod_changed(const client::Ref<api::Pod>& before, const client::Ref<api::Pod>& now);
  void pod_gone_locked(const api::Pod& pod) REQUIRES(mutex_);
  void pod_placed_locked(const PodInfoRef& pod, const client::Ref<api::Pod>& before) REQUIRES(mutex_);
  void node_changed(const client::Ref<api::Node>& before, const client::Ref<api::Node>& now);
  void claim_changed(const client::ObjectKey& key);
  void wake_locked(const ClusterChange& change) REQUIRES(mutex_);
  bool is_ours(const api::Pod& pod) const;
  const Profile* profile_of(const api::Pod& pod) const;
  /// Where events about the scheduling of `pod` come from: its profile.
  client::EventRecorder& events_for(const api::Pod& pod);

  // Deciding (scheduler.cpp).
  void run(std::stop_token stop);
  /// Waits for a pod and decides where it goes; it counts there from now on. False once stopped.
  bool next(std::stop_token stop, Decision& decision);
  void decide_locked(Decision& decision) REQUIRES(mutex_);
  NodeStates feasible_locked(const PodInfo& pod, const Filtering& filtering, std::vector<NodeVerdict>& verdicts)
      REQUIRES(mutex_);
  void place_locked(Decision& decision, const NodeState& node, const PodVolumes& volumes) REQUIRES(mutex_);
  void refuse_locked(Decision& decision, const PodVolumes& volumes) REQUIRES(mutex_);
  std::string ineligible_locked(const PodInfo& pod) const REQUIRES(mutex_);
  std::vector<PodInfoRef> nominated_before_locked(const PodInfo& pod, const std::string& node) const REQUIRES(mutex_);
  NodeVerdict check_locked(const PodInfo& pod, const Filtering& filtering, const NodeState& node) const
      REQUIRES(mutex_);

  // Doing (scheduler_binding.cpp).
  void carry_out(Decision& decision);
  void bind(const Decision& decision);
  Status write_volumes(VolumePlan& plan, const std::string& node);
  enum class VolumeState { Bound, Waiting, GivenUp };
  VolumeState state_of(const Decision& decision) const;
  void await_volumes(Decision decision);
  void move_waiting_locked() REQUIRES(mutex_);
  void give_up(const Decision& decision, const std::string& why, bool gone);
  void report_failure(const Decision& decision);
  void preempt(const Decision& decision);
  Status evict(const PodInfo& victim, const Decision& decision);
  void drop_lower_nominations(const Decision& decision);
  void set_unscheduled(const api::Pod& pod, const std::string& reason, const std::string& message,
                       const std::string& nominated = "");

  client::Client& client_;
  Clock& clock_;
  Random& random_;
  const std::vector<Profile> profiles_;
  client::Informer<api::Pod> pods_;
  client::Informer<api::Node> nodes_;
  client::Informer<api::Namespace> namespaces_;
  client::Informer<api::PodDisruptionBudget> budgets_;
  VolumeCatalogue catalogue_;
  std::map<std::string, client::EventRecorder> events_;  // by profile, constant

  mutable Mutex mutex_;
  CondVar changed_;
  ClusterState cluster_ GUARDED_BY(mutex_);
  SchedulingQueue queue_ GUARDED_BY(mutex_);
  std::map<client::ObjectKey, std::string> assumed_ GUARDED_BY(mutex_);  // decided, not yet seen: UIDs
  std::map<client::ObjectKey, Nomination> nominations_ GUARDED_BY(mutex_);
  VolumePromises promises_ GUARDED_BY(mutex_);
  std::map<client::ObjectKey, Decision> waiting_ GUARDED_BY(mutex_);  // for their volumes to be bound
  std::deque<Decision> resumed_ GUARDED_BY(mutex_);                   // those whose wait is over
  size_t first_node_ GUARDED_BY(mutex_) = 0;                          // where the next search begins
  std::vector<std::jthread> workers_;
};

}  // namespace skiff::scheduler
