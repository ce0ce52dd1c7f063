#include "kubelet/eviction.hpp"

#include <algorithm>
#include <charconv>
#include <tuple>

#include "api/pods.hpp"
#include "kubelet/disk_usage.hpp"
#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

constexpr std::int32_t kCritical = 2'000'000'000;

std::int64_t amount(const std::map<std::string, api::Quantity>& resources, const std::string& name) {
  auto found = resources.find(name);
  return found == resources.end() ? 0 : found->second.value();
}

std::string text_of(std::uint64_t bytes) { return api::Quantity::of_bytes(static_cast<std::int64_t>(bytes)).text(); }

std::uint64_t used_by(const client::ContainerUsage& container, bool disk) {
  if (!disk) return container.compute.working_set_bytes;
  return (container.root ? container.root->used_bytes : 0) + (container.logs ? container.logs->used_bytes : 0);
}

/// "Container c was using 12Mi, request is 0, has larger consumption of memory. " for those above their request.
std::string blame(const MeasuredPod& pod, bool disk) {
  std::string text;
  std::string resource = disk ? "ephemeral-storage" : "memory";
  for (const client::ContainerUsage& container : pod.usage.containers) {
    auto spec = std::ranges::find(pod.pod->spec.containers, container.name, &api::Container::name);
    if (spec == pod.pod->spec.containers.end()) continue;
    std::int64_t request = amount(spec->resources.requests, resource);
    std::uint64_t used = used_by(container, disk);
    if (used <= static_cast<std::uint64_t>(request)) continue;
    text += fmt::format("Container {} was using {}, request is {}, has larger consumption of {}. ", container.name,
                        text_of(used), request == 0 ? "0" : text_of(static_cast<std::uint64_t>(request)), resource);
  }
  return text;
}

/// Smaller goes first.
auto rank(const MeasuredPod& pod, bool disk) {
  std::string resource = disk ? "ephemeral-storage" : "memory";
  auto requested = amount(api::pod_requests(*pod.pod), resource);
  std::uint64_t used = disk ? (pod.usage.ephemeral ? pod.usage.ephemeral->used_bytes : 0)
                            : pod.usage.compute.working_set_bytes;
  std::int64_t above = static_cast<std::int64_t>(used) - requested;
  return std::tuple(above <= 0, pod.pod->spec.priority.value_or(0), -above);
}

std::optional<EvictionChoice> choose(const std::vector<MeasuredPod>& pods, bool disk, std::uint64_t threshold,
                                     std::uint64_t available) {
  const MeasuredPod* first = nullptr;
  for (const MeasuredPod& pod : pods) {
    if (pod.pod->spec.priority.value_or(0) >= kCritical) continue;
    if (first == nullptr || rank(pod, disk) < rank(*first, disk)) first = &pod;
  }
  if (first == nullptr) return std::nullopt;
  return EvictionChoice{first->pod->metadata.uid,
                        fmt::format("The node was low on resource: {}. Threshold quantity: {}, available: {}. {}",
                                    disk ? "ephemeral-storage" : "memory", text_of(threshold), text_of(available),
                                    blame(*first, disk))};
}

}  // namespace

Pressure pressure_of(const NodeSignals& signals, const EvictionThresholds& thresholds) {
  auto percent = static_cast<std::uint64_t>(thresholds.disk_inodes_free_percent);
  bool inodes = signals.disk_inodes > 0 && signals.disk_inodes_free < signals.disk_inodes / 100 * percent;
  return {signals.memory_available < thresholds.memory_available,
          signals.disk_available < thresholds.disk_available || inodes};
}

NodeSignals read_signals(const std::string& directory) {
  NodeSignals signals;
  if (Result<std::string> text = sys::read_file("/proc/meminfo"); text.ok()) {
    size_t at = text.value().find("MemAvailable:");
    size_t digit = at == std::string::npos ? at : text.value().find_first_of("0123456789", at);
    if (digit != std::string::npos)
      std::from_chars(text.value().data() + digit, text.value().data() + text.value().size(), signals.memory_available);
    signals.memory_available *= 1024;
  }
  client::FileSystemUsage disk = file_system(directory);
  signals.disk_available = disk.available_bytes;
  signals.disk_inodes = disk.inodes;
  signals.disk_inodes_free = disk.inodes_free;
  return signals;
}

std::optional<EvictionChoice> choose_for_memory(const std::vector<MeasuredPod>& pods, const NodeSignals& signals,
                                                const EvictionThresholds& thresholds) {
  return choose(pods, false, thresholds.memory_available, signals.memory_available);
}

std::optional<EvictionChoice> choose_for_disk(const std::vector<MeasuredPod>& pods, const NodeSignals& signals,
                                              const EvictionThresholds& thresholds) {
  return choose(pods, true, thresholds.disk_available, signals.disk_available);
}

bool limits_disk(const api::Pod& pod) {
  return std::ranges::any_of(pod.spec.volumes,
                             [](const api::Volume& volume) {
                               return volume.emptyDir && volume.emptyDir->sizeLimit && volume.emptyDir->medium.empty() &&
                                      volume.emptyDir->sizeLimit->value() > 0;
                             }) ||
         std::ranges::any_of(pod.spec.containers, [](const api::Container& container) {
           return container.resources.limits.contains("ephemeral-storage");
         });
}

std::string broken_disk_limit(const api::Pod& pod, const client::PodUsage& usage) {
  for (const api::Volume& volume : pod.spec.volumes) {
    if (!volume.emptyDir || !volume.emptyDir->sizeLimit || volume.emptyDir->sizeLimit->value() <= 0) continue;
    auto measured = usage.volumes.find(volume.name);
    auto limit = static_cast<std::uint64_t>(volume.emptyDir->sizeLimit->value());
    if (measured != usage.volumes.end() && measured->second.used_bytes > limit)
      return fmt::format("Usage of EmptyDir volume \"{}\" exceeds the limit \"{}\". ", volume.name,
                         volume.emptyDir->sizeLimit->text());
  }
  std::int64_t total = amount(api::limits_of_pod(pod), "ephemeral-storage");
  bool all_limited = std::ranges::all_of(pod.spec.containers, [](const api::Container& container) {
    return container.resources.limits.contains("ephemeral-storage");
  });
  if (all_limited && total > 0 && usage.ephemeral && usage.ephemeral->used_bytes > static_cast<std::uint64_t>(total))
    return fmt::format("Pod ephemeral local storage usage exceeds the total limit of containers {}. ",
                       text_of(static_cast<std::uint64_t>(total)));
  for (const client::ContainerUsage& container : usage.containers) {
    auto spec = std::ranges::find(pod.spec.containers, container.name, &api::Container::name);
    if (spec == pod.spec.containers.end()) continue;
    auto limit = spec->resources.limits.find("ephemeral-storage");
    if (limit != spec->resources.limits.end() &&
        used_by(container, true) > static_cast<std::uint64_t>(limit->second.value()))
      return fmt::format("Container {} exceeded its local ephemeral storage limit \"{}\". ", container.name,
                         limit->second.text());
  }
  return "";
}

void EvictionManager::look() {
  NodeSignals signals = uses_.signals();
  Pressure pressure = pressure_of(signals, thresholds_);
  if (pressure.disk) {
    uses_.reclaim_disk();
    signals = uses_.signals();
    pressure = pressure_of(signals, thresholds_);
  }
  if (pressure != told_) uses_.tell(pressure);
  told_ = pressure;
  bool disk = pressure.disk || uses_.any_disk_limits();
  if (!disk && !pressure.memory) return;
  auto measured = uses_.pods(disk);
  std::vector<MeasuredPod> pods;
  for (auto& [pod, usage] : measured) {
    if (std::string broken = broken_disk_limit(*pod, usage); !broken.empty()) {
      uses_.evict({pod->metadata.uid, broken});
      continue;
    }
    pods.push_back({pod.get(), std::move(usage)});
  }
  std::optional<EvictionChoice> choice;
  if (pressure.memory) choice = choose_for_memory(pods, signals, thresholds_);
  if (!choice && pressure.disk) choice = choose_for_disk(pods, signals, thresholds_);
  if (choice) uses_.evict(*choice);
}

void EvictionManager::start() {
  thread_ = std::jthread([this](std::stop_token stop) {
    do look();
    while (clock_.wait_for(stop, thresholds_.period));
  });
}

void EvictionManager::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

}  // namespace skiff::kubelet
