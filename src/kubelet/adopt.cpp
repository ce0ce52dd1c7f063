#include "kubelet/adopt.hpp"

#include <algorithm>
#include <charconv>

#include "kubelet/container_spec.hpp"

namespace skiff::kubelet {
namespace {

constexpr std::string_view kScheme = "skiff://";

std::string label(const runtime::Labels& labels, const char* name) {
  auto found = labels.find(name);
  return found == labels.end() ? "" : found->second;
}

Run ended_run(const api::ContainerStatus& status) {
  Run run;
  run.attempt = status.restartCount;
  run.image = status.image;
  run.image_id = status.imageID;
  run.container.state = runtime::ContainerState::Exited;
  run.container.id = status.containerID.starts_with(kScheme) ? status.containerID.substr(kScheme.size())
                                                             : status.containerID;
  return run;
}

Run from_terminated(const api::ContainerStatus& status, const api::ContainerStateTerminated& ended) {
  Run run = ended_run(status);
  run.container.exit_code = ended.exitCode;
  run.container.signal = ended.signal;
  run.container.started_at = ended.startedAt ? ended.startedAt.wall() : WallTime{};
  run.container.finished_at = ended.finishedAt ? ended.finishedAt.wall() : WallTime{};
  run.reason = ended.reason;
  run.message = ended.message;
  return run;
}

/// What the status says of a container that the node does not know.
std::optional<Run> run_from_status(const api::ContainerStatus& status, WallTime now) {
  if (status.state.terminated) return from_terminated(status, *status.state.terminated);
  if (status.state.waiting && status.lastState.terminated)
    return from_terminated(status, *status.lastState.terminated);
  if (!status.state.running) return std::nullopt;
  Run run = ended_run(status);
  run.container.exit_code = 137;
  run.container.started_at = status.state.running->startedAt.wall();
  run.container.finished_at = now;
  run.reason = "ContainerStatusUnknown";
  run.message = "The container could not be located when the pod was recovered";
  return run;
}

void adopt_status(const api::ContainerStatus& status, WallTime now, PodState& state) {
  ContainerRecord& record = state.containers[status.name];
  if (!record.current) {
    record.current = run_from_status(status, now);
    if (record.current) record.next_attempt = record.current->attempt + 1;
  } else if ("skiff://" + record.current->container.id == status.containerID) {
    record.started = record.running() && status.started.value_or(false);
    record.ready = record.running() && status.ready;
    if (record.running() && status.resources) record.resources = *status.resources;
    if (!record.running() && status.state.terminated)
      record.current->message = status.state.terminated->message;
  }
  if (!record.previous && status.lastState.terminated && status.state.running)
    record.previous = from_terminated(status, *status.lastState.terminated);
  record.backoff.restore(record.next_attempt - 1, now);
}

}  // namespace

Run run_of(const runtime::ContainerStatus& container) {
  Run run;
  run.container = container;
  run.image = label(container.labels, kImage);
  run.image_id = label(container.labels, kImageId);
  std::string attempt = label(container.labels, kAttempt);
  std::from_chars(attempt.data(), attempt.data() + attempt.size(), run.attempt);
  return run;
}

PodState adopt(const api::Pod& pod, const std::vector<runtime::ContainerStatus>& containers, WallTime now) {
  PodState state;
  std::vector<Run> runs;
  for (const runtime::ContainerStatus& container : containers) runs.push_back(run_of(container));
  std::ranges::sort(runs, {}, &Run::attempt);
  for (Run& run : runs) {
    ContainerRecord& record = state.containers[label(run.container.labels, kContainerName)];
    record.previous = std::move(record.current);
    record.next_attempt = run.attempt + 1;
    record.current = std::move(run);
  }
  for (const api::ContainerStatus& status : pod.status.initContainerStatuses)
    adopt_status(status, now, state);
  for (const api::ContainerStatus& status : pod.status.containerStatuses) adopt_status(status, now, state);
  for (const api::ContainerStatus& status : pod.status.ephemeralContainerStatuses) adopt_status(status, now, state);
  note_ephemeral(pod, state);
  return state;
}

}  // namespace skiff::kubelet
