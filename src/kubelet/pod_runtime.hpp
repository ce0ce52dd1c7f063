#pragma once
// What a pod's worker does with the node: the hooks in their order, each idempotent, each with an undo.
//
//   directories, cgroup  ->  volumes  ->  sandbox, network  ->  init containers  ->  containers (image,
//   start, probes) stop containers  ->  sandbox, network  ->  volumes  ->  cgroup, containers' directories ->
//   logs

#include <functional>

#include "client/event_recorder.hpp"
#include "kubelet/image_pulls.hpp"
#include "kubelet/images.hpp"
#include "kubelet/node_room.hpp"
#include "kubelet/pod_cgroups.hpp"
#include "kubelet/pod_files.hpp"
#include "kubelet/pod_network.hpp"
#include "kubelet/pod_plan.hpp"
#include "kubelet/probe_runner.hpp"
#include "kubelet/user_ids.hpp"
#include "kubelet/volumes.hpp"
#include "runtime/seccomp.hpp"

namespace skiff::kubelet {

struct NodeFacts {
  std::string name;
  std::string directory;  // the node's own; pods live in directory/pods/<uid>
  std::vector<std::string> ips;  // one a family
  DnsSettings dns;
  std::map<std::string, api::Quantity> allocatable;
  std::set<std::string> unsafe_sysctls;
  std::string seccomp_directory;  // of profiles by name
  std::string user_ids_directory; // of the blocks that pods with user namespaces have
  /// Told before and after each hook, by the names below; a test ends the process there.
  std::function<void(std::string_view point)> TEST_reached;
};

struct PodSystem {
  client::Client& client;
  runtime::Node& node;
  image::ContentStore& images;
  ImagePulls& pulls;
  PodNetwork& network;
  PodCgroups& cgroups;
  Volumes& volumes;
  Handlers& handlers;
  ProbeRunner& probes;
  client::EventRecorder& events;
  NodeRoom& room;
  Clock& clock;
  Random& random;
};

/// When a worker has to look again without being told: the earliest of what was asked for.
class Alarm {
 public:
  void at(TimePoint due) { due_ = std::min(due_, due); }
  TimePoint due() const { return due_; }

 private:
  TimePoint due_ = TimePoint::max();
};

/// Called by one worker at a time for a pod; several pods at once.
class PodRuntime {
 public:
  /// `wake` is called, from any thread, when a pod's hook task has ended.
  PodRuntime(PodSystem system, NodeFacts facts, std::function<void(const std::string& uid)> wake)
      : system_(system), facts_(std::move(facts)), user_ids_(facts_.user_ids_directory), wake_(std::move(wake)) {}

  struct Progress {
    bool finished = false;  // nothing runs and nothing will
  };
  /// Brings the pod towards running. An error is about the whole pod (its message was recorded as an event).
  Result<Progress> sync(const api::Pod& pod, PodState& state, Alarm& alarm);
  /// One step of stopping; true once no container runs.
  Result<bool> stop(const api::Pod& pod, PodState& state, Duration grace, Alarm& alarm);
  /// Undoes all hooks but the logs. Idempotent.
  Status clean_up(const api::Pod& pod, PodState& state);
  Status remove_logs(const std::string& uid);

  // News for a pod's state.
  void container_exited(const api::Pod& pod, PodState& state, const runtime::ContainerStatus& container);
  void probed(const api::Pod& pod, PodState& state, const ProbeNews& news);
  /// The node cannot keep the pod. A pod that has ended by itself stays as it is.
  void evict(const api::Pod& pod, PodState& state, const std::string& message);

  const NodeFacts& facts() const { return facts_; }
  void reached(std::string_view point) const {
    if (facts_.TEST_reached) facts_.TEST_reached(point);
  }
  std::string pod_directory(const std::string& uid) const { return facts_.directory + "/pods/" + uid; }
  std::string log_path(const std::string& uid, const std::string& container, int attempt) const;

 private:
  // container_start.cpp
  struct Start {
    const api::Pod& pod;
    PodState& state;
    const api::Container& container;
    PodVolumes volumes;
    Alarm& alarm;
  };
  void start_container(Start start);
  bool mount_images(Start& start, ContainerRecord& record);
  bool held_back(const Start& start, ContainerRecord& record);
  struct ImageWish {
    const std::string& image;
    const std::string& pull_policy;
  };
  // container_image.cpp; nothing while it is not here.
  std::optional<image::Image> find_image(const Start& start, ContainerRecord& record, const ImageWish& wish,
                                         std::string& name);
  std::optional<image::Image> pull_image(const Start& start, ContainerRecord& record, const std::string& image);
  bool may_use(const Start& start, const image::Image& image, const std::string& repository);
  bool pull_held_back(const Start& start, ContainerRecord& record, const std::string& image);
  std::vector<image::Credentials> pull_credentials(const Start& start, const image::Reference& image);
  Result<runtime::ContainerSpec> prepare(const Start& start, const ContainerRecord& record,
                                         const image::Image& image, const std::string& image_name);
  Result<std::string> target_of_debugging(const Start& start) const;
  void launch(const Start& start, ContainerRecord& record, const runtime::ContainerSpec& spec);
  void started(const Start& start, ContainerRecord& record);
  void wait_with(const Start& start, ContainerRecord& record, const std::string& reason,
                 const std::string& message);
  void retire_previous(ContainerRecord& record, Run next);

  // container_stop.cpp
  struct StopRequest {
    const api::Pod& pod;
    PodState& state;
    const api::Container& container;
    Duration grace;
    std::string message;  // of the Killing event
    Alarm& alarm;
  };
  bool stop_container(const StopRequest& request, ContainerRecord& record);
  bool end_all(const api::Pod& pod, PodState& state, Alarm& alarm);
  bool run_pre_stop(const StopRequest& request, ContainerRecord& record);
  void begin_stop(const StopRequest& request, ContainerRecord& record);
  std::string read_termination_message(const api::Pod& pod, const api::Container& container,
                                       const Run& run) const;

  // resize.cpp
  void apply_resize(const api::Pod& pod, PodState& state, Alarm& alarm);
  Status resize_container(const api::Pod& pod, const api::Container& container, ContainerRecord& record);

  // pod_runtime.cpp
  bool admit(const api::Pod& pod, PodState& state);
  Status make_sandbox(const api::Pod& pod, PodState& state);
  Status write_pod_files(const api::Pod& pod, const PodState& state);
  Result<PodVolumes> make_volumes(const api::Pod& pod, PodState& state);
  void continue_containers(const api::Pod& pod, PodState& state, Alarm& alarm);
  void begin_probes(const api::Pod& pod, const PodState& state, const api::Container& container,
                    ContainerRecord& record);
  bool check_deadline(const api::Pod& pod, PodState& state, Alarm& alarm);
  FieldSource fields_of(const api::Pod& pod, const PodState& state) const;
  HandlerTarget target_of(const PodState& state, const api::Container& container,
                          const ContainerRecord& record) const;
  api::ObjectReference about(const api::Pod& pod, const api::Container& container) const;
  api::ObjectReference about(const api::Pod& pod) const;

  PodSystem system_;
  const NodeFacts facts_;
  const UserIds user_ids_;
  runtime::SeccompProfiles seccomp_;
  std::function<void(const std::string&)> wake_;
};

}  // namespace skiff::kubelet
