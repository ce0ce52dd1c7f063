// Stopping containers, and what is noted when one has ended.

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "api/pods.hpp"
#include "base/log.hpp"
#include "kubelet/container_spec.hpp"
#include "kubelet/log_reader.hpp"
#include "kubelet/pod_runtime.hpp"
#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

constexpr Duration kMinimumGrace = 2s;  // after preStop a program still gets a chance
constexpr size_t kMaxMessage = 4096;
constexpr size_t kMaxMessageFromLog = 2048;
constexpr int kMaxMessageLines = 80;

/// The last bytes of a file that a container may have made as large as it likes; "" when there is none.
std::string end_of_file(const std::string& path, size_t bytes) {
  Result<UniqueFd> file = sys::open(path, O_RDONLY | O_NOFOLLOW);
  if (!file.ok()) return "";
  off_t size = ::lseek(file.value().get(), 0, SEEK_END);
  if (size > static_cast<off_t>(bytes)) ::lseek(file.value().get(), size - static_cast<off_t>(bytes), SEEK_SET);
  else ::lseek(file.value().get(), 0, SEEK_SET);
  Result<std::string> text = sys::read_some(file.value(), bytes, path);
  return text.ok() ? text.value() : "";
}

}  // namespace

void PodRuntime::begin_stop(const StopRequest& request, ContainerRecord& record) {
  record.stop = Stop{system_.clock.now() + request.grace, request.grace};
  record.post_start.reset();
  system_.probes.remove(record.current->container.id);
  system_.events.normal(about(request.pod, request.container), "Killing", request.message);
  if (!request.container.lifecycle || !request.container.lifecycle->preStop ||
      request.grace <= Duration::zero())
    return;
  record.pre_stop = std::make_unique<HookTask>(
      [this, handler = *request.container.lifecycle->preStop,
       target = target_of(request.state, request.container, record)](std::stop_token stop) {
        return system_.handlers.run(handler, target, stop);
      },
      [this, uid = request.pod.metadata.uid] { wake_(uid); });
}

/// True while preStop still has time and needs it.
bool PodRuntime::run_pre_stop(const StopRequest& request, ContainerRecord& record) {
  if (!record.pre_stop) return false;
  bool finished = record.pre_stop->finished();
  if (!finished && system_.clock.now() < record.stop->deadline) {
    request.alarm.at(record.stop->deadline);
    return true;
  }
  if (finished && !record.pre_stop->failure().empty())
    system_.events.warning(about(request.pod, request.container), "FailedPreStopHook",
                           "PreStopHook failed");
  record.pre_stop.reset();
  record.stop->deadline = std::max(record.stop->deadline, system_.clock.now() + kMinimumGrace);
  return false;
}

bool PodRuntime::stop_container(const StopRequest& request, ContainerRecord& record) {
  if (!record.running()) return true;
  if (!record.stop) {
    begin_stop(request, record);
  } else if (!request.message.empty() && request.grace < record.stop->grace) {
    record.stop->grace = request.grace;  // it only ever shrinks
    record.stop->deadline = std::min(record.stop->deadline, system_.clock.now() + request.grace);
  }
  if (run_pre_stop(request, record)) return false;
  Stop& stop = *record.stop;
  const std::string& id = record.current->container.id;
  auto send = [&](int signal) {
    Status sent = system_.node.signal_container(id, signal);
    if (!sent.ok()) log::warning("kubelet", "signal container {}: {}", id, sent.error().message());
  };
  if (!stop.term_sent) {
    Result<image::Image> image = system_.images.resolve(request.container.image);
    send(stop_signal(request.container, image.ok() ? image.value().config : image::Config{}));
    stop.term_sent = true;
    reached("stopping");
  }
  if (system_.clock.now() >= stop.deadline && !stop.kill_sent) {
    send(SIGKILL);
    stop.kill_sent = true;
  }
  if (!stop.kill_sent) request.alarm.at(stop.deadline);
  return false;
}

Result<bool> PodRuntime::stop(const api::Pod& pod, PodState& state, Duration grace, Alarm& alarm) {
  TimePoint now = system_.clock.now();
  state.stop_deadline = std::min(state.stop_deadline.value_or(now + grace), now + grace);
  auto stop_within = [&](const api::Container& container, Duration limit) {
    auto found = state.containers.find(container.name);
    if (found == state.containers.end()) return true;
    return stop_container({pod, state, container, limit, "Stopping container " + container.name, alarm},
                          found->second);
  };
  auto stop_one = [&](const api::Container& container) { return stop_within(container, grace); };
  bool main_stopped = true;
  for (const auto& [name, container] : state.ephemeral) main_stopped = stop_one(container) && main_stopped;
  for (const api::Container& container : pod.spec.containers)
    main_stopped = stop_one(container) && main_stopped;
  for (const api::Container& container : pod.spec.initContainers)
    if (!api::is_sidecar(container)) main_stopped = stop_one(container) && main_stopped;
  if (!main_stopped) return false;
  // Sidecars serve the others, so they go last, in the reverse order of their start, in what is left of the time.
  Duration left = std::min(std::max(*state.stop_deadline - now, std::min<Duration>(kMinimumGrace, grace)), grace);
  for (auto container = pod.spec.initContainers.rbegin(); container != pod.spec.initContainers.rend();
       ++container)
    if (api::is_sidecar(*container) && !stop_within(*container, left)) return false;
  return true;
}

std::string PodRuntime::read_termination_message(const api::Pod& pod, const api::Container& container,
                                                 const Run& run) const {
  std::string path = pod_directory(pod.metadata.uid) + "/termination/" + run.container.id;
  if (std::string text = end_of_file(path, kMaxMessage); !text.empty()) return text;
  if (container.terminationMessagePolicy != "FallbackToLogsOnError" || run.container.exit_code == 0)
    return "";
  return last_lines(run.container.log_path, kMaxMessageLines, kMaxMessageFromLog);
}

void PodRuntime::container_exited(const api::Pod& pod, PodState& state,
                                  const runtime::ContainerStatus& container) {
  for (auto& [name, record] : state.containers) {
    if (!record.current || record.current->container.id != container.id) continue;
    record.current->container = container;
    record.ready = record.started = false;
    record.stop.reset();
    record.post_start.reset();
    record.pre_stop.reset();
    record.waiting_reason.clear();
    system_.probes.remove(container.id);
    const api::Container* spec = container_of(pod, state, name);
    if (spec == nullptr) continue;
    record.current->message = read_termination_message(pod, *spec, *record.current);
    const api::ContainerRestartRule* rule = rule_for(*spec, container.exit_code);
    if (rule != nullptr && rule->action == "RestartAllContainers") state.restart_all = true;
  }
}

/// One step towards a pod without running containers, which then begins again. False until it is there.
bool PodRuntime::end_all(const api::Pod& pod, PodState& state, Alarm& alarm) {
  bool ended = true;
  Duration grace = std::chrono::seconds(pod.spec.terminationGracePeriodSeconds.value_or(30));
  for (auto& [name, record] : state.containers) {
    const api::Container* container = container_of(pod, state, name);
    if (container == nullptr || state.ephemeral.contains(name) || !record.running()) continue;
    (void)stop_container({pod, state, *container, grace, "Restarting all containers", alarm}, record);
    ended = ended && !record.running();
  }
  if (!ended) return false;
  for (auto& [name, record] : state.containers) record.renew = record.current && !state.ephemeral.contains(name);
  state.restart_all = false;
  return true;
}

void PodRuntime::probed(const api::Pod& pod, PodState& state, const ProbeNews& news) {
  for (auto& [name, record] : state.containers) {
    const api::Container* container = container_of(pod, state, name);
    if (container == nullptr || !record.running() || record.current->container.id != news.container_id)
      continue;
    if (record.stop) return;
    if (!news.success)
      system_.events.warning(about(pod, *container), "Unhealthy",
                             fmt::format("{} probe failed: {}", to_string(news.kind), news.output));
    if (!news.decided) return;
    if (news.kind == ProbeKind::Readiness)
      record.ready = news.success;
    else if (news.kind == ProbeKind::Startup && news.success)
      record.started = true;
    if (news.success || news.kind == ProbeKind::Readiness) return;
    const api::Probe& probe =
        *(news.kind == ProbeKind::Startup ? container->startupProbe : container->livenessProbe);
    std::int64_t grace =
        probe.terminationGracePeriodSeconds.value_or(pod.spec.terminationGracePeriodSeconds.value_or(30));
    Alarm alarm;  // the sync that follows asks again
    (void)stop_container({pod, state, *container, std::chrono::seconds(grace),
                          fmt::format("Container {} failed {} probe, will be restarted", name,
                                      news.kind == ProbeKind::Startup ? "startup" : "liveness"),
                          alarm},
                         record);
  }
}

}  // namespace skiff::kubelet
