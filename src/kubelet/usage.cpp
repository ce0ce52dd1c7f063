#include "kubelet/usage.hpp"

#include <charconv>

#include "base/encoding.hpp"
#include "kubelet/disk_usage.hpp"
#include "sys/files.hpp"
#include "sys/namespaces.hpp"

namespace skiff::kubelet {
namespace {

constexpr Duration kWarmUp = 500ms;

std::optional<client::NetworkUsage> network_usage(const UniqueFd& network) {
  // thread-self: only this thread is in the pod's network.
  Result<std::string> text = sys::in_network(network, [] { return sys::read_file("/proc/thread-self/net/dev"); });
  return text.ok() ? parse_interfaces(text.value()) : std::nullopt;
}

std::uint64_t number_in(const std::string& path) {
  Result<std::string> text = sys::read_file(path);
  std::uint64_t number = 0;
  if (text.ok()) std::from_chars(text.value().data(), text.value().data() + text.value().size(), number);
  return number;
}

}  // namespace

std::optional<client::NetworkUsage> parse_interfaces(std::string_view text) {
  for (const std::string& line : split(text, '\n')) {
    size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    client::NetworkUsage usage;
    usage.interface = line.substr(line.find_first_not_of(' '), colon - line.find_first_not_of(' '));
    if (usage.interface == "lo") continue;
    std::vector<std::uint64_t> numbers;
    for (const std::string& word : split(line.substr(colon + 1), ' ')) {
      std::uint64_t number = 0;
      if (!word.empty() && std::from_chars(word.data(), word.data() + word.size(), number).ec == std::errc())
        numbers.push_back(number);
    }
    if (numbers.size() < 11) continue;
    usage.received_bytes = numbers[0];
    usage.received_errors = numbers[2];
    usage.sent_bytes = numbers[8];
    usage.sent_errors = numbers[10];
    return usage;
  }
  return std::nullopt;
}

client::ComputeUsage UsageCollector::measure(const std::string& group, Round& round,
                                             std::optional<WallTime> started) {
  client::ComputeUsage usage;
  usage.time = round.now;
  Result<sys::CgroupUsage> read = system_.cgroups.usage(group);
  if (!read.ok()) return usage;  // it ended just now
  round.groups.insert(group);
  usage.cpu_total_ns = read.value().cpu_ns;
  usage.memory_bytes = read.value().memory_bytes;
  usage.working_set_bytes = read.value().working_set_bytes;
  usage.rss_bytes = read.value().rss_bytes;
  usage.page_faults = read.value().page_faults;
  usage.major_page_faults = read.value().major_page_faults;
  usage.processes = read.value().pids;
  CpuRate rate = meter_.add(group, {system_.clock.wall_now(), usage.cpu_total_ns}, started);
  usage.window = rate.window;
  usage.cpu_nanocores = rate.nanocores;
  return usage;
}

client::ContainerUsage UsageCollector::container_usage(const PodSnapshot& pod, const std::string& name,
                                                       Round& round) {
  const PodSnapshot::Container& container = pod.containers.at(name);
  client::ContainerUsage usage;
  usage.name = name;
  usage.started = container.started_at;
  usage.compute = measure(container.cgroup, round, container.started_at);
  if (!round.full) return usage;
  usage.root = directory_usage(container.directory + "/upper");
  usage.logs = directory_usage(container.log_path.substr(0, container.log_path.rfind('/')));
  return usage;
}

void UsageCollector::add_disks(const PodSnapshot& snapshot, client::PodUsage& usage) const {
  std::string volumes = system_.directory + "/pods/" + usage.uid + "/volumes/";
  usage.ephemeral = file_system(system_.directory);
  usage.ephemeral->used_bytes = usage.ephemeral->inodes_used = 0;
  auto add = [&](const client::FileSystemUsage& part) {
    usage.ephemeral->used_bytes += part.used_bytes;
    usage.ephemeral->inodes_used += part.inodes_used;
  };
  for (const client::ContainerUsage& container : usage.containers) {
    add(*container.root);
    add(*container.logs);
  }
  for (const api::Volume& volume : snapshot.pod->spec.volumes) {
    if (!volume.emptyDir && !has_files(volume)) continue;
    usage.volumes[volume.name] = directory_usage(system_.node.path(volumes + volume.name));
    bool on_disk = volume.configMap || (volume.emptyDir && volume.emptyDir->medium.empty());
    if (on_disk) add(usage.volumes[volume.name]);
  }
}

client::PodUsage UsageCollector::pod_usage(const PodSnapshot& snapshot, Round& round) {
  const api::Pod& pod = *snapshot.pod;
  client::PodUsage usage;
  usage.key = client::key_of(pod);
  usage.uid = pod.metadata.uid;
  usage.labels = pod.metadata.labels;
  usage.started = pod.status.startTime ? pod.status.startTime.wall() : round.now;
  usage.compute = measure(system_.pods.path_of(pod), round, usage.started);
  for (const auto& [name, container] : snapshot.containers)
    if (container.running) usage.containers.push_back(container_usage(snapshot, name, round));
  if (!round.full) return usage;
  Result<UniqueFd> network = system_.node.sandbox_network(usage.uid);
  if (!pod.spec.hostNetwork && network.ok()) usage.network = network_usage(network.value());
  add_disks(snapshot, usage);
  return usage;
}

client::NodeUsage UsageCollector::read(const client::UsageQuery& query) {
  Round round{query.full, system_.clock.wall_now(), {}};
  client::NodeUsage usage;
  usage.name = system_.name;
  usage.started = started_;
  usage.compute = measure(system_.node.cgroup(), round, started_);
  for (const PodSnapshot& pod : system_.workers.snapshots())
    if (pod.has_sandbox) usage.pods.push_back(pod_usage(pod, round));
  meter_.keep_only(round.groups);
  std::uint64_t memory = 0;
  if (Result<std::string> text = sys::read_file("/proc/meminfo"); text.ok()) {
    size_t digit = text.value().find_first_of("0123456789");  // MemTotal comes first
    std::from_chars(text.value().data() + digit, text.value().data() + text.value().size(), memory);
  }
  memory *= 1024;
  usage.memory_available_bytes = memory - std::min(memory, usage.compute.working_set_bytes);
  usage.disk = file_system(system_.directory);
  usage.images = file_system(system_.images);
  usage.processes = usage.compute.processes;
  usage.max_processes = number_in("/proc/sys/kernel/pid_max");
  if (query.full) {
    usage.network = network_usage(system_.node.network());
    usage.images.used_bytes = disk_usage(system_.images).bytes;
  }
  return usage;
}

std::vector<std::pair<client::Ref<api::Pod>, client::PodUsage>> UsageCollector::pods(bool full) {
  Round round{full, system_.clock.wall_now(), {}};
  std::vector<std::pair<client::Ref<api::Pod>, client::PodUsage>> all;
  for (const PodSnapshot& pod : system_.workers.snapshots())
    if (pod.has_sandbox) all.emplace_back(pod.pod, pod_usage(pod, round));
  round.groups.insert(system_.node.cgroup());
  meter_.keep_only(round.groups);
  return all;
}

client::NodeUsage UsageCollector::collect(const client::UsageQuery& query) {
  bool stale = meter_.stale(system_.node.cgroup(), system_.clock.wall_now());
  client::NodeUsage usage = read(query);
  if (!stale || usage.compute.window > Duration::zero()) return usage;
  (void)system_.clock.wait_for({}, kWarmUp);
  return read(query);
}

}  // namespace skiff::kubelet
