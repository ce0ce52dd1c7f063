#include "cluster/usage.hpp"

#include "api/gen/nodes.hpp"
#include "client/together.hpp"

namespace skiff::cluster {
namespace {

/// Go's form of a duration, to the millisecond: "15.012s".
std::string window_text(Duration window) {
  auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(window).count();
  if (milliseconds < 1000) return fmt::format("{}ms", milliseconds);
  std::string text = fmt::format("{}.{:03}", milliseconds % 60'000 / 1000, milliseconds % 1000);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) text.pop_back();
  return milliseconds < 60'000 ? text + "s" : fmt::format("{}m{}s", milliseconds / 60'000, text);
}

std::map<std::string, api::Quantity> usage_of(const client::ComputeUsage& compute) {
  std::map<std::string, api::Quantity> usage;
  Result<api::Quantity> cpu = api::Quantity::parse(fmt::format("{}n", compute.cpu_nanocores));
  if (cpu.ok()) usage["cpu"] = std::move(cpu).value();
  usage["memory"] = api::Quantity::of_bytes(static_cast<std::int64_t>(compute.working_set_bytes));
  return usage;
}

struct Measured {
  client::Ref<api::Node> node;
  client::NodeUsage usage;
};

/// All nodes at once: each may take its half second. One that does not answer is left out.
std::vector<Measured> measure_all(const client::NodeAccessByName& kubelets, client::Client& client) {
  Result<std::vector<client::Ref<api::Node>>> nodes = client.list<api::Node>();
  if (!nodes.ok()) return {};
  std::vector<std::optional<client::NodeUsage>> answers(nodes.value().size());
  std::vector<client::Task> tasks;
  for (size_t i = 0; i < answers.size(); ++i)
    tasks.emplace_back([&, i]() -> Status {
      std::shared_ptr<client::NodeAccess> access = kubelets(nodes.value()[i]->metadata.name);
      if (!access) return ok();
      TRY_ASSIGN(answers[i], access->usage({}));
      return ok();
    });
  (void)client::run_together(tasks).ok();
  std::vector<Measured> all;
  for (size_t i = 0; i < answers.size(); ++i)
    if (answers[i] && answers[i]->compute.window > Duration::zero())
      all.push_back({nodes.value()[i], std::move(*answers[i])});
  return all;
}

}  // namespace

api::NodeMetrics node_metrics(const client::NodeUsage& node, std::map<std::string, std::string> labels) {
  api::NodeMetrics metrics;
  metrics.metadata.name = node.name;
  metrics.metadata.labels = std::move(labels);
  metrics.metadata.creationTimestamp = metrics.timestamp = api::Time::from(node.compute.time);
  metrics.window = window_text(node.compute.window);
  metrics.usage = usage_of(node.compute);
  return metrics;
}

api::PodMetrics pod_metrics(const client::PodUsage& pod) {
  api::PodMetrics metrics;
  metrics.metadata.name = pod.key.name;
  metrics.metadata.namespace_ = pod.key.namespace_;
  metrics.metadata.labels = pod.labels;
  metrics.metadata.creationTimestamp = metrics.timestamp = api::Time::from(pod.compute.time);
  Duration window = pod.compute.window;
  for (const client::ContainerUsage& container : pod.containers) {
    if (container.compute.window == Duration::zero()) continue;  // nothing to compare with yet
    window = std::min(window, container.compute.window);
    api::ContainerMetrics& one = metrics.containers.emplace_back();
    one.name = container.name;
    one.usage = usage_of(container.compute);
  }
  metrics.window = window_text(window);
  return metrics;
}

registry::UsageSource usage_source(client::NodeAccessByName kubelets, client::Client& client) {
  registry::UsageSource source;
  source.nodes = [kubelets, &client] {
    std::vector<api::NodeMetrics> all;
    for (const Measured& one : measure_all(kubelets, client))
      all.push_back(node_metrics(one.usage, one.node->metadata.labels));
    return all;
  };
  source.pods = [kubelets = std::move(kubelets), &client] {
    std::vector<api::PodMetrics> all;
    for (const Measured& one : measure_all(kubelets, client))
      for (const client::PodUsage& pod : one.usage.pods)
        if (api::PodMetrics metrics = pod_metrics(pod); !metrics.containers.empty()) all.push_back(std::move(metrics));
    return all;
  };
  return source;
}

}  // namespace skiff::cluster
