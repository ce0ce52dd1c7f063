#pragma once
// What the kubelet knows of one pod on this node beyond its API object. Owned by the pod's worker; nobody
// else writes.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/gen/pod.hpp"
#include "base/clock.hpp"
#include "image/pull.hpp"
#include "kubelet/hook_task.hpp"
#include "kubelet/restart_backoff.hpp"
#include "runtime/node.hpp"

namespace skiff::kubelet {

/// One run of a container: what the runtime says, and the image it was started from.
struct Run {
  runtime::ContainerStatus container;
  int attempt = 0;
  std::string image;  // as the pod spells it
  std::string image_id;
  std::string reason;   // "" unless the kubelet knows better than the exit code ("StartError")
  std::string message;  // the termination message

  bool running() const { return container.state != runtime::ContainerState::Exited; }
};

/// A container that is being stopped: preStop, then SIGTERM, at the deadline SIGKILL.
struct Stop {
  TimePoint deadline;
  Duration grace{0};
  bool term_sent = false;
  bool kill_sent = false;
};

struct ContainerRecord {
  std::optional<Run> current, previous;
  int next_attempt = 0;
  /// Why there is no running container, when it is not the plain ContainerCreating.
  std::string waiting_reason, waiting_message;
  /// What the current run has; the spec may want something else by now.
  std::optional<api::ResourceRequirements> resources;
  bool restart_wanted = false;  // whatever the restart policy says, and at once
  bool renew = false;           // it ended with all others, and starts again with them as if it never had run
  RestartBackoff backoff;
  ImageBackoff image_backoff;
  std::optional<image::PullRequest> pulling;  // its image, or one of its volumes
  bool ready = false;    // readiness probe
  bool started = false;  // startup probe and postStart
  std::optional<Stop> stop;
  std::unique_ptr<HookTask> post_start, pre_stop;

  bool running() const { return current && current->running(); }
};

/// Reason and message of a condition.
struct Problem {
  std::string reason, message;
  bool operator==(const Problem&) const = default;
};

struct PodState {
  std::map<std::string, ContainerRecord> containers;  // by name, init containers too
  std::map<std::string, api::Container> ephemeral;    // those of spec.ephemeralContainers, for which there is a record too
  std::string sandbox;                                // "" until it is made
  UniqueFd network;
  std::vector<std::string> ips;
  std::string volume_problem;  // the last FailedMount, told once
  bool volumes_ready = false;
  bool admitted = false;
  bool restart_all = false;  // a rule wants every container to end and the pod to begin again
  std::optional<Problem> resize_pending, resize_stuck;  // resources that the node does not give, or not yet
  std::map<std::string, std::string> volume_images;  // digests of image volumes, by the volume's name
  bool cleaned_up = false;
  std::optional<api::PodStatus> written;      // last status sent
  std::optional<Duration> stop_grace;         // shorter than the pod's own
  std::optional<TimePoint> stop_deadline;     // of the whole pod, once it is being stopped
  std::string failed_reason, failed_message;  // the kubelet itself ended the pod (DeadlineExceeded, ...)
};

/// Takes over the ephemeral containers that were added to the pod since. They never go.
void note_ephemeral(const api::Pod& pod, PodState& state);

/// A container of any sort; null: the pod has no such one. The pointer lives as long as `pod` and `state`.
const api::Container* container_of(const api::Pod& pod, const PodState& state, const std::string& name);

}  // namespace skiff::kubelet
