#pragma once
// Where an autoscaler's numbers come from.

#include <string>

#include "api/gen/autoscaling.hpp"
#include "api/selector.hpp"
#include "client/client.hpp"
#include "controllers/autoscale_plan.hpp"

namespace skiff::controllers {

/// custom.metrics.k8s.io and external.metrics.k8s.io, as aggregated API servers serve them. Values in thousandths.
/// Any thread; may wait for the network.
class CustomMetrics {
 public:
  virtual ~CustomMetrics() = default;
  virtual Result<PodUsages> of_pods(const std::string& namespace_, const api::Selector& pods,
                                    const api::MetricIdentifier& metric) = 0;
  virtual Result<std::int64_t> of_object(const std::string& namespace_, const api::CrossVersionObjectReference& object,
                                         const api::MetricIdentifier& metric) = 0;
  virtual Result<std::int64_t> external(const std::string& namespace_, const api::MetricIdentifier& metric) = 0;
};

struct ScalingQuestion {
  const api::HorizontalPodAutoscaler& scaler;
  std::int32_t current;         // replicas wanted now
  std::int32_t observed;        // replicas there are
  const api::Selector& selector;
  const ScaledPods& pods;
  api::Time now;
};

/// One metric's answer, with how it is named to people and what is shown of it.
struct MetricAnswer {
  std::int32_t replicas = 0;
  std::string name;          // "cpu resource utilization (percentage of request)"
  api::MetricStatus status;
};

/// `custom` may be null. The error is what the event and the condition say ("failed to get cpu utilization: ...").
Result<MetricAnswer> ask_metric(client::Client& client, CustomMetrics* custom, const ScalingQuestion& question,
                                const api::MetricSpec& metric);
/// The same as it stands among what all metrics came to ("failed to get cpu resource metric value: ...").
std::string whole_failure(const api::MetricSpec& metric, const std::string& message);
/// "FailedGetResourceMetric" and its kin.
std::string failure_reason(const api::MetricSpec& metric);

}  // namespace skiff::controllers
