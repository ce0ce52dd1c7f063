#include "kubelet/node_access.hpp"

#include <poll.h>
#include <sys/inotify.h>

#include <algorithm>

#include "base/encoding.hpp"
#include "kubelet/exec_session.hpp"
#include "kubelet/log_reader.hpp"
#include "net/dial.hpp"
#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

constexpr const char* kDefaultContainer = "kubectl.kubernetes.io/default-container";
constexpr int kFollowMilliseconds = 250;  // how soon the end of a container is noticed
constexpr Duration kDialTimeout = 10s;

const api::ContainerStatus* status_of(const api::Pod& pod, const std::string& name) {
  for (const auto* statuses : {&pod.status.containerStatuses, &pod.status.initContainerStatuses,
                               &pod.status.ephemeralContainerStatuses})
    for (const api::ContainerStatus& status : *statuses)
      if (status.name == name) return &status;
  return nullptr;
}

Result<LogQuery> query_of(const client::LogOptions& options, WallTime now) {
  LogQuery query;
  query.timestamps = options.timestamps;
  query.tail_lines = options.tail_lines;
  query.limit_bytes = options.limit_bytes;
  if (options.stream == "Stdout") query.stream = "stdout";
  if (options.stream == "Stderr") query.stream = "stderr";
  if (options.since_seconds) query.since = now - std::chrono::seconds(*options.since_seconds);
  if (!options.since_time.empty()) {
    TRY_ASSIGN(api::MicroTime since, api::MicroTime::parse(options.since_time));
    query.since = since.wall();
  }
  return query;
}

/// stdinOnce of a container of any sort.
bool closes_stdin(const api::Pod& pod, const std::string& name) {
  if (const api::Container* container = find_container(pod, name)) return container->stdinOnce;
  auto found = std::ranges::find(pod.spec.ephemeralContainers, name, &api::EphemeralContainer::name);
  return found != pod.spec.ephemeralContainers.end() && found->stdinOnce;
}

/// Wakes up when something is written to, or renamed in, a log's directory.
class LogWatch {
 public:
  explicit LogWatch(const std::string& log_path) : inotify_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
    std::string directory = log_path.substr(0, log_path.rfind('/'));
    if (inotify_)
      ::inotify_add_watch(inotify_.get(), directory.c_str(), IN_MODIFY | IN_CREATE | IN_MOVED_FROM);
  }
  void wait() const {
    pollfd waiting{inotify_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, kFollowMilliseconds) <= 0) return;
    char events[4096];
    while (::read(inotify_.get(), events, sizeof events) > 0) {
    }
  }

 private:
  UniqueFd inotify_;
};

}  // namespace

Result<std::string> choose_container(const api::Pod& pod, const std::string& name) {
  if (!name.empty()) {
    if (has_container(pod, name)) return name;
    return error(Code::BadRequest, "container {} is not valid for pod {}", name, pod.metadata.name);
  }
  auto annotated = pod.metadata.annotations.find(kDefaultContainer);
  if (annotated != pod.metadata.annotations.end() && has_container(pod, annotated->second))
    return annotated->second;
  if (pod.spec.containers.size() == 1) return pod.spec.containers.front().name;
  std::vector<std::string> names;
  for (const api::Container& container : pod.spec.containers) names.push_back(container.name);
  return error(Code::BadRequest, "a container name must be specified for pod {}, choose one of: [{}]",
               pod.metadata.name, join(names, " "));
}

Result<int> choose_log(const api::Pod& pod, const std::string& container, bool previous) {
  const api::ContainerStatus* status = status_of(pod, container);
  if (status == nullptr)
    return error(Code::BadRequest, "container \"{}\" in pod \"{}\" is not available", container,
                 pod.metadata.name);
  if (previous) {
    if (status->lastState.terminated)
      return status->state.waiting ? status->restartCount : status->restartCount - 1;
    return error(Code::BadRequest, "previous terminated container \"{}\" in pod \"{}\" not found", container,
                 pod.metadata.name);
  }
  if (!status->state.waiting || status->lastState.terminated) return status->restartCount;
  const std::string& reason = status->state.waiting->reason;
  if (reason == "ErrImagePull" || reason == "ImagePullBackOff")
    return error(Code::BadRequest,
                 "container \"{}\" in pod \"{}\" is waiting to start: trying and failing to pull image",
                 container, pod.metadata.name);
  return error(Code::BadRequest, "container \"{}\" in pod \"{}\" is waiting to start: {}", container,
               pod.metadata.name, reason);
}

Result<PodSnapshot> KubeletAccess::find_pod(const client::ObjectKey& key) const {
  std::optional<PodSnapshot> pod = workers_.snapshot(key);
  if (!pod) return error(Code::NotFound, "pods \"{}\" not found", key.name);
  return std::move(*pod);
}

Result<PodSnapshot::Container> KubeletAccess::running_container(const PodSnapshot& pod,
                                                                const std::string& name) const {
  TRY_ASSIGN(std::string container, choose_container(*pod.pod, name));
  auto found = pod.containers.find(container);
  if (found != pod.containers.end() && found->second.running) return found->second;
  return error(Code::NotFound, "container not found (\"{}\")", container);
}

Status KubeletAccess::logs(const client::ObjectKey& key, const client::LogOptions& options,
                           const std::function<bool(std::string_view)>& write, std::stop_token stop) {
  TRY_ASSIGN(PodSnapshot pod, find_pod(key));
  TRY_ASSIGN(std::string container, choose_container(*pod.pod, options.container));
  auto known = pod.containers.find(container);
  // The worker knows of a start before the status says so.
  bool current = known != pod.containers.end() && known->second.exists && !options.previous;
  int attempt = 0;
  if (current) {
    attempt = known->second.attempt;
  } else {
    TRY_ASSIGN(attempt, choose_log(*pod.pod, container, options.previous));
  }
  TRY_ASSIGN(LogQuery query, query_of(options, clock_.wall_now()));
  std::string path = runtime_.log_path(pod.pod->metadata.uid, container, attempt);
  LogWatch watch(path);
  Result<LogReader> reader = LogReader::open(path, query);
  if (!reader.ok()) {
    bool missing = reader.error().sys_errno() == ENOENT;
    return missing ? ok() : Status(std::move(reader).error());  // it never wrote, or was cleared away
  }
  for (;;) {
    // Asked before reading: what was written until the container ended is then read.
    std::optional<PodSnapshot> now = workers_.snapshot(key);
    bool running = now && now->containers[container].running && now->containers[container].attempt == attempt;
    TRY(reader.value().read(write));
    if (!options.follow || !running || reader.value().ended() || stop.stop_requested()) return ok();
    watch.wait();
  }
}

Result<std::unique_ptr<client::ExecSession>> KubeletAccess::exec(const client::ObjectKey& key,
                                                                 const client::ExecOptions& options) {
  TRY_ASSIGN(PodSnapshot pod, find_pod(key));
  TRY_ASSIGN(PodSnapshot::Container container, running_container(pod, options.container));
  TRY_ASSIGN(runtime::ExecSession session, node_.exec({.container = container.id,
                                                       .arguments = options.command,
                                                       .tty = options.tty,
                                                       .wants_stdin = options.in}));
  return std::unique_ptr<client::ExecSession>(new CommandSession(node_, std::move(session), options));
}

Result<std::unique_ptr<client::ExecSession>> KubeletAccess::attach(const client::ObjectKey& key,
                                                                   const client::ExecOptions& options) {
  TRY_ASSIGN(PodSnapshot pod, find_pod(key));
  TRY_ASSIGN(std::string name, choose_container(*pod.pod, options.container));
  TRY_ASSIGN(PodSnapshot::Container container, running_container(pod, name));
  TRY_ASSIGN(runtime::Streams streams, node_.attach(container.id));
  auto running = [this, key, name, id = container.id] {
    std::optional<PodSnapshot> now = workers_.snapshot(key);
    return now && now->containers[name].running && now->containers[name].id == id;
  };
  bool once = closes_stdin(*pod.pod, name);
  return std::unique_ptr<client::ExecSession>(
      new AttachSession({node_, clock_, container.id, running}, std::move(streams), options, once));
}

Result<UniqueFd> KubeletAccess::dial_pod(const client::ObjectKey& key, std::uint16_t port) {
  TRY_ASSIGN(PodSnapshot pod, find_pod(key));
  if (!pod.has_sandbox) return error(Code::NotFound, "pod {} is not running", key.str());
  TRY_ASSIGN(UniqueFd network, node_.sandbox_network(pod.pod->metadata.uid));
  // As the kubelet dials "localhost": IPv4 first, then IPv6.
  Result<UniqueFd> v4 =
      net::dial_in(network, {net::Address::loopback(net::Family::V4), port}, clock_.now() + kDialTimeout);
  if (v4.ok()) return v4;
  Result<UniqueFd> v6 =
      net::dial_in(network, {net::Address::loopback(net::Family::V6), port}, clock_.now() + kDialTimeout);
  return v6.ok() ? std::move(v6) : std::move(v4);
}

Result<UniqueFd> KubeletAccess::dial(const std::string& address, std::uint16_t port) {
  TRY_ASSIGN(net::Address target, net::parse_address(address));
  return net::dial_in(node_.network(), {target, port}, clock_.now() + kDialTimeout);
}

}  // namespace skiff::kubelet
