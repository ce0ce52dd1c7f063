// A node's usage as documents: the summary of the kubelet's stats API, and Prometheus' text for metrics.

#include <nlohmann/json.hpp>

#include "api/values.hpp"
#include "apiserver/node_endpoints.hpp"

namespace skiff::apiserver {

using client::ComputeUsage;
using client::FileSystemUsage;
using client::NodeUsage;
using nlohmann::json;

namespace {

std::string time_text(WallTime time) { return api::Time::from(time).text(); }

json cpu_document(const ComputeUsage& usage) {
  json document = {{"time", time_text(usage.time)}, {"usageCoreNanoSeconds", usage.cpu_total_ns}};
  if (usage.window > Duration::zero()) document["usageNanoCores"] = usage.cpu_nanocores;
  return document;
}

json memory_document(const ComputeUsage& usage) {
  return {{"time", time_text(usage.time)},        {"usageBytes", usage.memory_bytes},
          {"workingSetBytes", usage.working_set_bytes}, {"rssBytes", usage.rss_bytes},
          {"pageFaults", usage.page_faults},      {"majorPageFaults", usage.major_page_faults}};
}

json disk_document(const FileSystemUsage& usage, WallTime time) {
  return {{"time", time_text(time)},
          {"availableBytes", usage.available_bytes},
          {"capacityBytes", usage.capacity_bytes},
          {"usedBytes", usage.used_bytes},
          {"inodes", usage.inodes},
          {"inodesFree", usage.inodes_free},
          {"inodesUsed", usage.inodes_used}};
}

json network_document(const client::NetworkUsage& usage, WallTime time) {
  json document = {{"name", usage.interface},
                   {"rxBytes", usage.received_bytes},
                   {"rxErrors", usage.received_errors},
                   {"txBytes", usage.sent_bytes},
                   {"txErrors", usage.sent_errors}};
  json whole = document;
  whole["time"] = time_text(time);
  whole["interfaces"] = json::array({document});
  return whole;
}

json container_document(const client::ContainerUsage& container) {
  const ComputeUsage& compute = container.compute;
  json document = {{"name", container.name},
                   {"startTime", time_text(container.started)},
                   {"cpu", cpu_document(compute)},
                   {"memory", memory_document(compute)}};
  if (container.root) document["rootfs"] = disk_document(*container.root, compute.time);
  if (container.logs) document["logs"] = disk_document(*container.logs, compute.time);
  return document;
}

json pod_document(const client::PodUsage& pod) {
  WallTime time = pod.compute.time;
  json document = {{"podRef", {{"name", pod.key.name}, {"namespace", pod.key.namespace_}, {"uid", pod.uid}}},
                   {"startTime", time_text(pod.started)},
                   {"cpu", cpu_document(pod.compute)},
                   {"memory", memory_document(pod.compute)},
                   {"process_stats", {{"process_count", pod.compute.processes}}},
                   {"containers", json::array()}};
  for (const client::ContainerUsage& container : pod.containers)
    document["containers"].push_back(container_document(container));
  if (pod.network) document["network"] = network_document(*pod.network, time);
  if (pod.ephemeral) document["ephemeral-storage"] = disk_document(*pod.ephemeral, time);
  for (const auto& [name, usage] : pod.volumes) {
    json volume = disk_document(usage, time);
    volume["name"] = name;
    document["volume"].push_back(std::move(volume));
  }
  return document;
}

/// Pods are one group to a kubelet, which names it.
json pods_container(const NodeUsage& usage) {
  ComputeUsage sum;
  sum.time = usage.compute.time;
  sum.window = usage.compute.window;
  for (const client::PodUsage& pod : usage.pods) {
    sum.cpu_nanocores += pod.compute.cpu_nanocores;
    sum.cpu_total_ns += pod.compute.cpu_total_ns;
    sum.memory_bytes += pod.compute.memory_bytes;
    sum.working_set_bytes += pod.compute.working_set_bytes;
    sum.rss_bytes += pod.compute.rss_bytes;
    sum.page_faults += pod.compute.page_faults;
    sum.major_page_faults += pod.compute.major_page_faults;
  }
  return {{"name", "pods"},
          {"startTime", time_text(usage.started)},
          {"cpu", cpu_document(sum)},
          {"memory", memory_document(sum)}};
}

/// One family of samples in Prometheus' text format.
class Family {
 public:
  Family(std::string& out, std::string_view name, std::string_view type, std::string_view help)
      : out_(out), name_(name) {
    out_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
  }
  void sample(const std::string& labels, double value, WallTime time) {
    auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
    std::string braces = labels.empty() ? "" : "{" + labels + "}";
    out_ += fmt::format("{}{} {} {}\n", name_, braces, value, milliseconds);
  }

 private:
  std::string& out_;
  std::string name_;
};

double seconds(std::uint64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1e9; }
double bytes(std::uint64_t count) { return static_cast<double>(count); }

std::string pod_labels(const client::PodUsage& pod) {
  return fmt::format("namespace=\"{}\",pod=\"{}\"", pod.key.namespace_, pod.key.name);
}
std::string container_labels(const client::PodUsage& pod, const client::ContainerUsage& container) {
  return fmt::format("container=\"{}\",{}", container.name, pod_labels(pod));
}

/// A family with a sample a container.
template <class Value>
void containers(std::string& out, const NodeUsage& usage, std::array<std::string_view, 3> head, Value&& value) {
  Family family(out, head[0], head[1], head[2]);
  for (const client::PodUsage& pod : usage.pods)
    for (const client::ContainerUsage& container : pod.containers)
      family.sample(container_labels(pod, container), value(container), container.compute.time);
}

template <class Value>
void pods(std::string& out, const NodeUsage& usage, std::array<std::string_view, 3> head, Value&& value) {
  Family family(out, head[0], head[1], head[2]);
  for (const client::PodUsage& pod : usage.pods) family.sample(pod_labels(pod), value(pod), pod.compute.time);
}

template <class Value>
void networks(std::string& out, const NodeUsage& usage, std::array<std::string_view, 3> head, Value&& value) {
  Family family(out, head[0], head[1], head[2]);
  for (const client::PodUsage& pod : usage.pods)
    if (pod.network)
      family.sample(fmt::format("interface=\"{}\",{}", pod.network->interface, pod_labels(pod)), value(*pod.network),
                    pod.compute.time);
}

}  // namespace

std::string usage_summary(const NodeUsage& usage) {
  WallTime time = usage.compute.time;
  json node = {{"nodeName", usage.name},
               {"startTime", time_text(usage.started)},
               {"systemContainers", json::array({pods_container(usage)})},
               {"cpu", cpu_document(usage.compute)},
               {"memory", memory_document(usage.compute)},
               {"fs", disk_document(usage.disk, time)},
               {"runtime", {{"imageFs", disk_document(usage.images, time)}}},
               {"rlimit", {{"time", time_text(time)}, {"maxpid", usage.max_processes}, {"curproc", usage.processes}}}};
  node["memory"]["availableBytes"] = usage.memory_available_bytes;
  if (usage.network) node["network"] = network_document(*usage.network, time);
  json pods = json::array();
  for (const client::PodUsage& pod : usage.pods) pods.push_back(pod_document(pod));
  return json{{"node", std::move(node)}, {"pods", std::move(pods)}}.dump(1, ' ', false,
                                                                        json::error_handler_t::replace);
}

std::string resource_metrics(const NodeUsage& usage) {
  std::string out;
  containers(out, usage,
             {"container_cpu_usage_seconds_total", "counter",
              "[STABLE] Cumulative cpu time consumed by the container in core-seconds"},
             [](const auto& container) { return seconds(container.compute.cpu_total_ns); });
  containers(out, usage,
             {"container_memory_working_set_bytes", "gauge",
              "[STABLE] Current working set of the container in bytes"},
             [](const auto& container) { return bytes(container.compute.working_set_bytes); });
  containers(out, usage,
             {"container_start_time_seconds", "gauge",
              "[STABLE] Start time of the container since unix epoch in seconds"},
             [](const auto& container) {
               return std::chrono::duration<double>(container.started.time_since_epoch()).count();
             });
  Family(out, "node_cpu_usage_seconds_total", "counter",
         "[STABLE] Cumulative cpu time consumed by the node in core-seconds")
      .sample("", seconds(usage.compute.cpu_total_ns), usage.compute.time);
  Family(out, "node_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the node in bytes")
      .sample("", bytes(usage.compute.working_set_bytes), usage.compute.time);
  pods(out, usage,
       {"pod_cpu_usage_seconds_total", "counter", "[STABLE] Cumulative cpu time consumed by the pod in core-seconds"},
       [](const auto& pod) { return seconds(pod.compute.cpu_total_ns); });
  pods(out, usage,
       {"pod_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the pod in bytes"},
       [](const auto& pod) { return bytes(pod.compute.working_set_bytes); });
  return out +
         "# HELP resource_scrape_error [STABLE] 1 if there was an error while getting container metrics, 0 otherwise\n"
         "# TYPE resource_scrape_error gauge\nresource_scrape_error 0\n";
}

std::string container_metrics(const NodeUsage& usage) {
  std::string out;
  containers(out, usage, {"container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds."},
             [](const auto& container) { return seconds(container.compute.cpu_total_ns); });
  containers(out, usage, {"container_memory_usage_bytes", "gauge", "Current memory usage in bytes, with caches."},
             [](const auto& container) { return bytes(container.compute.memory_bytes); });
  containers(out, usage, {"container_memory_working_set_bytes", "gauge", "Current working set in bytes."},
             [](const auto& container) { return bytes(container.compute.working_set_bytes); });
  containers(out, usage, {"container_memory_rss", "gauge", "Size of RSS in bytes."},
             [](const auto& container) { return bytes(container.compute.rss_bytes); });
  containers(out, usage, {"container_processes", "gauge", "Number of processes running inside the container."},
             [](const auto& container) { return bytes(container.compute.processes); });
  containers(out, usage, {"container_fs_usage_bytes", "gauge", "Number of bytes that the container wrote to its root."},
             [](const auto& container) { return bytes(container.root ? container.root->used_bytes : 0); });
  networks(out, usage, {"container_network_receive_bytes_total", "counter", "Cumulative count of bytes received."},
           [](const auto& network) { return bytes(network.received_bytes); });
  networks(out, usage, {"container_network_transmit_bytes_total", "counter", "Cumulative count of bytes transmitted."},
           [](const auto& network) { return bytes(network.sent_bytes); });
  return out;
}

}  // namespace skiff::apiserver
