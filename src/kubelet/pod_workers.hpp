#pragma once
// One worker state a pod UID, a few threads for all of them. Each step observes the newest wish, takes the
// news (exits, probes) and does what the phase asks for; nothing in a step waits for long.

#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "client/work_queue.hpp"
#include "kubelet/pod_runtime.hpp"

namespace skiff::kubelet {

enum class Phase : std::uint8_t { Syncing, Terminating, Terminated };

struct WorkerState {
  Phase phase = Phase::Syncing;
  std::optional<Duration> grace;  // set once terminating; only ever shrinks
};

struct PodUpdate {
  const api::Pod& pod;
  bool gone = false;      // the API object is no more
  bool finished = false;  // the kubelet sees that nothing will run again
};

/// Pure. Phases only move forward: a UID that began terminating is never started again.
WorkerState observe(WorkerState state, const PodUpdate& update);

/// What others may know of a pod: NodeAccess finds containers by it.
struct PodSnapshot {
  client::Ref<api::Pod> pod;
  struct Container {
    std::string id;  // of the current run
    int attempt = 0;
    bool running = false;
    bool exists = false;
    WallTime started_at{};
    std::string cgroup, directory, log_path;
  };
  std::map<std::string, Container> containers;
  std::vector<std::string> ips;
  bool has_sandbox = false;
};

class PodWorkers {
 public:
  PodWorkers(client::Client& client, Clock& clock) : client_(client), clock_(clock), queue_(clock) {}
  ~PodWorkers() { stop(); }

  /// `runtime` outlives this.
  void start(PodRuntime& runtime, int threads);
  void stop();

  // News; any thread, none waits.
  /// Before start(): a pod with what the node has of it.
  void adopt_pod(client::Ref<api::Pod> pod, PodState state, bool gone = false);
  void update(const client::Ref<api::Pod>& pod);
  void removed(const std::string& uid);
  void exited(const runtime::ContainerStatus& container);
  void probed(const ProbeNews& news);
  void wake(const std::string& uid);
  /// The pod fails with reason Evicted and is stopped at once.
  void evict(const std::string& uid, const std::string& message);
  /// Pods that show this ConfigMap or Secret look at it again.
  void config_changed(bool secret, const client::ObjectKey& key);

  /// The same of a PersistentVolumeClaim.
  void claim_changed(const client::ObjectKey& key);

  std::optional<PodSnapshot> snapshot(const client::ObjectKey& pod) const;
  /// Of all pods here.
  std::vector<PodSnapshot> snapshots() const;

 private:
  struct Worker {
    client::Ref<api::Pod> pod;
    bool gone = false;
    std::vector<runtime::ContainerStatus> exits;  // the mailbox, under the mutex
    std::vector<ProbeNews> probes;
    std::string eviction;
    PodSnapshot snapshot;
    WorkerState state;  // the rest belongs to the thread that handles the key
    PodState pods;
    bool finished = false;
    bool deleted = false;  // our final delete was accepted
  };
  struct Step {
    client::Ref<api::Pod> pod;
    bool gone = false;
    std::vector<runtime::ContainerStatus> exits;
    std::vector<ProbeNews> probes;
    std::string eviction;
  };

  void run(std::stop_token stop);
  Result<Alarm> step(const std::string& uid);
  Status act(Worker& worker, const Step& step, Alarm& alarm);
  Status finish(Worker& worker, const Step& step);
  Status write_status(Worker& worker, const api::Pod& pod);
  Status keep_mirror(const api::Pod& pod);
  Status remove_mirror(const api::Pod& pod);
  Worker* take(const std::string& uid, Step& step);
  void publish(Worker& worker, const Step& step);

  client::Client& client_;
  Clock& clock_;
  PodRuntime* runtime_ = nullptr;
  client::WorkQueue queue_;
  mutable Mutex mutex_;
  std::map<std::string, std::unique_ptr<Worker>> workers_ GUARDED_BY(mutex_);
  std::vector<std::jthread> threads_;  // last
};

}  // namespace skiff::kubelet
