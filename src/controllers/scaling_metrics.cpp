#include "controllers/scaling_metrics.hpp"

#include <charconv>

#include "api/gen/metrics.hpp"
#include "api/pods.hpp"
#include "controllers/selector_text.hpp"

namespace skiff::controllers {
namespace {

constexpr std::int64_t kMilli = 1000;

// "15s", "1m30s", "500ms": what metrics say of their windows.
Duration window_of(const std::string& text) {
  Duration sum{};
  for (const char* at = text.data(), *end = at + text.size(); at < end;) {
    double value = 0;
    auto [rest, failure] = std::from_chars(at, end, value);
    if (failure != std::errc()) break;
    std::string_view unit(rest, static_cast<size_t>(end - rest));
    double seconds = unit.starts_with("ms") ? 0.001 : unit.starts_with("h") ? 3600 : unit.starts_with("m") ? 60 : 1;
    sum += std::chrono::duration_cast<Duration>(std::chrono::duration<double>(value * seconds));
    at = rest + (unit.starts_with("ms") ? 2 : 1);
  }
  return sum;
}

Result<PodUsages> resource_usage(client::Client& client, const ScalingQuestion& question, const std::string& resource,
                                 const std::string& container) {
  auto listed = client.list<api::PodMetrics>({.namespace_ = question.scaler.metadata.namespace_,
                                              .label_selector = question.selector.text()});
  if (!listed.ok()) return error(Code::Unavailable, "unable to fetch metrics from resource metrics API: {}", listed.error().message());
  if (listed.value().empty()) return Error(Code::NotFound, "no metrics returned from resource metrics API");
  PodUsages usages;
  for (const auto& pod : listed.value()) {
    bool complete = !pod->containers.empty();
    PodUsage usage{0, pod->timestamp, window_of(pod->window)};
    for (const api::ContainerMetrics& one : pod->containers) {
      if (!container.empty() && one.name != container) continue;
      auto amount = one.usage.find(resource);
      if (amount == one.usage.end()) complete = false;
      else usage.milli += amount->second.milli();
    }
    if (complete) usages[pod->metadata.name] = usage;
  }
  return usages;
}

UsageQuestion usage_question(const ScalingQuestion& question, const std::string& resource, PodUsages usages) {
  UsageQuestion usage{.current = question.current, .pods = question.pods, .usages = std::move(usages), .resource = resource};
  usage.tolerance = tolerance_of(question.scaler);
  usage.now = question.now;
  return usage;
}

struct ResourceMetric {
  const std::string& resource;
  std::string container;
  const api::MetricTarget& target;
};

Result<Proposal> resource_proposal(client::Client& client, const ScalingQuestion& question, const ResourceMetric& metric) {
  Result<PodUsages> usages = resource_usage(client, question, metric.resource, metric.container);
  if (!usages.ok()) return std::move(usages).error().in("unable to get metrics for resource " + metric.resource);
  UsageQuestion usage = usage_question(question, metric.resource, std::move(usages).value());
  if (metric.target.averageUtilization) {
    TRY_ASSIGN(usage.requests, requests_of(question.pods, metric.resource, metric.container));
    usage.target_percent = *metric.target.averageUtilization;
  } else {
    if (!metric.target.averageValue) return Error(Code::Invalid, "invalid resource metric source: neither an average utilization target nor an average value (usage) target was set");
    usage.target_milli = metric.target.averageValue->milli();
  }
  return replicas_for_usage(std::move(usage));
}

api::MetricValueStatus value_of(const Proposal& proposal) {
  api::MetricValueStatus value;
  value.averageValue = api::Quantity::of_milli(proposal.milli);
  value.averageUtilization = proposal.utilization;
  return value;
}

Result<MetricAnswer> ask_resource(client::Client& client, const ScalingQuestion& question, const api::ResourceMetricSource& source) {
  Result<Proposal> proposal = resource_proposal(client, question, {source.name, "", source.target});
  const bool percent = static_cast<bool>(source.target.averageUtilization);
  if (!proposal.ok())
    return std::move(proposal).error().in(percent ? fmt::format("failed to get {} utilization", source.name)
                                                  : fmt::format("failed to get {} usage", source.name));
  MetricAnswer answer{proposal.value().replicas,
                      source.name + (percent ? " resource utilization (percentage of request)" : " resource"), {}};
  answer.status.type = "Resource";
  auto& status = answer.status.resource.emplace();
  status.name = source.name;
  status.current = value_of(proposal.value());
  return answer;
}

Result<MetricAnswer> ask_container(client::Client& client, const ScalingQuestion& question,
                                   const api::ContainerResourceMetricSource& source) {
  Result<Proposal> proposal = resource_proposal(client, question, {source.name, source.container, source.target});
  const bool percent = static_cast<bool>(source.target.averageUtilization);
  if (!proposal.ok())
    return std::move(proposal).error().in(percent ? fmt::format("failed to get {} utilization", source.name)
                                                  : fmt::format("failed to get {} usage", source.name));
  MetricAnswer answer{proposal.value().replicas,
                      source.name + (percent ? " container resource utilization (percentage of request)" : " container resource"), {}};
  answer.status.type = "ContainerResource";
  auto& status = answer.status.containerResource.emplace();
  status.name = source.name;
  status.container = source.container;
  status.current = value_of(proposal.value());
  return answer;
}

Result<MetricAnswer> ask_pods(CustomMetrics* custom, const ScalingQuestion& question, const api::PodsMetricSource& source) {
  Result<PodUsages> usages = Error(Code::NotFound, "no metrics returned from custom metrics API");
  if (custom) usages = custom->of_pods(question.scaler.metadata.namespace_, question.selector, source.metric);
  Result<Proposal> proposal = Proposal();
  if (!usages.ok()) {
    proposal = std::move(usages).error().in("unable to get metric " + source.metric.name);
  } else {
    UsageQuestion usage = usage_question(question, "", std::move(usages).value());
    usage.target_milli = source.target.averageValue ? source.target.averageValue->milli() : 0;
    proposal = replicas_for_usage(std::move(usage));
  }
  TRY(proposal);
  MetricAnswer answer{proposal.value().replicas, "pods metric " + source.metric.name, {}};
  answer.status.type = "Pods";
  auto& status = answer.status.pods.emplace();
  status.metric = source.metric;
  status.current = value_of(proposal.value());
  return answer;
}

std::int32_t ready_pods(const ScaledPods& pods) {
  std::int32_t ready = 0;
  for (const auto& pod : pods) ready += pod->status.phase == "Running" && api::is_ready(*pod) ? 1 : 0;
  return ready;
}

// A number of its own: by its value, or by its value a pod.
std::int32_t replicas_for_number(const ScalingQuestion& question, const api::MetricTarget& target, std::int64_t milli,
                                 api::MetricValueStatus& shown) {
  const Tolerance tolerance = tolerance_of(question.scaler);
  if (target.value) {
    shown.value = api::Quantity::of_milli(milli);
    double ratio = static_cast<double>(milli) / static_cast<double>(target.value->milli());
    return replicas_for_ratio(ratio, question.current, ready_pods(question.pods), tolerance);
  }
  const std::int64_t wanted = target.averageValue ? target.averageValue->milli() : kMilli;
  const std::int32_t there = question.observed;
  shown.averageValue = api::Quantity::of_milli(there == 0 ? 0 : (milli + there - 1) / there);
  double ratio = static_cast<double>(milli) / (static_cast<double>(wanted) * std::max(there, 1));
  if (there > 0 && tolerance.within(ratio)) return there;
  return static_cast<std::int32_t>((milli + wanted - 1) / wanted);
}

Result<MetricAnswer> ask_object(CustomMetrics* custom, const ScalingQuestion& question, const api::ObjectMetricSource& source) {
  Result<std::int64_t> value = Error(Code::NotFound, "no metrics returned from custom metrics API");
  if (custom) value = custom->of_object(question.scaler.metadata.namespace_, source.describedObject, source.metric);
  if (!value.ok())  // the slash is Kubernetes', where the name stands for the metric
    return error(value.error().code(), "unable to get metric {}: {} on {} {}/{}", source.metric.name,
                 source.describedObject.kind, question.scaler.metadata.namespace_, source.describedObject.name,
                 value.error().message());
  MetricAnswer answer{0, fmt::format("{} metric {}", source.describedObject.kind, source.metric.name), {}};
  answer.status.type = "Object";
  auto& status = answer.status.object.emplace();
  status.metric = source.metric;
  status.describedObject = source.describedObject;
  answer.replicas = replicas_for_number(question, source.target, value.value(), status.current);
  return answer;
}

Result<MetricAnswer> ask_external(CustomMetrics* custom, const ScalingQuestion& question, const api::ExternalMetricSource& source) {
  Result<std::int64_t> value = Error(Code::NotFound, "no metrics returned from external metrics API");
  if (custom) value = custom->external(question.scaler.metadata.namespace_, source.metric);
  const std::string selector = selector_text(source.metric.selector ? &*source.metric.selector : nullptr);
  if (!value.ok())
    return std::move(value).error().in(fmt::format("unable to get external metric {}/{}/{}",
                                                   question.scaler.metadata.namespace_, source.metric.name, selector));
  MetricAnswer answer{0, fmt::format("external metric {}({})", source.metric.name, selector), {}};
  answer.status.type = "External";
  auto& status = answer.status.external.emplace();
  status.metric = source.metric;
  answer.replicas = replicas_for_number(question, source.target, value.value(), status.current);
  return answer;
}

}  // namespace

Result<MetricAnswer> ask_metric(client::Client& client, CustomMetrics* custom, const ScalingQuestion& question,
                                const api::MetricSpec& metric) {
  if (metric.type == "Resource" && metric.resource) return ask_resource(client, question, *metric.resource);
  if (metric.type == "ContainerResource" && metric.containerResource)
    return ask_container(client, question, *metric.containerResource);
  if (metric.type == "Pods" && metric.pods) return ask_pods(custom, question, *metric.pods);
  if (metric.type == "Object" && metric.object) return ask_object(custom, question, *metric.object);
  if (metric.type == "External" && metric.external) return ask_external(custom, question, *metric.external);
  return error(Code::Invalid, "unknown metric source type \"{}\"", metric.type);
}

std::string whole_failure(const api::MetricSpec& metric, const std::string& message) {
  if (metric.type == "Resource" && metric.resource)
    return fmt::format("failed to get {} resource metric value: {}", metric.resource->name, message);
  if (metric.type == "ContainerResource" && metric.containerResource)
    return fmt::format("failed to get {} container metric value: {}", metric.containerResource->container, message);
  if (metric.type == "Pods") return "failed to get pods metric value: " + message;
  if (metric.type == "Object") return "failed to get object metric value: " + message;
  if (metric.type != "External" || !metric.external) return message;
  const std::string& name = metric.external->metric.name;
  return metric.external->target.averageValue
             ? fmt::format("failed to get {0} external metric value: failed to get {0} external metric: {1}", name, message)
             : fmt::format("failed to get {0} external metric value: failed to get external metric {0}: {1}", name, message);
}

std::string failure_reason(const api::MetricSpec& metric) {
  for (const char* type : {"Resource", "ContainerResource", "Pods", "Object", "External"})
    if (metric.type == type) return fmt::format("FailedGet{}Metric", type);
  return "InvalidMetricSourceType";
}

}  // namespace skiff::controllers
