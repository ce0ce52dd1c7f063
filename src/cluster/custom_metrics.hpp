#pragma once

#include "client/client.hpp"
#include "client/kubeconfig.hpp"
#include "client/metrics_api.hpp"
#include "controllers/scaling_metrics.hpp"

namespace skiff::cluster {

/// Metrics for autoscalers from aggregated API servers, asked through the cluster's own API.
class AggregatedMetrics final : public controllers::CustomMetrics {
 public:
  /// `identity` says where the API is and who asks; it is asked anew each time, for certificates change.
  using Identity = std::function<Result<client::KubeconfigEntry>()>;
  AggregatedMetrics(client::Client& client, Identity identity);

  Result<controllers::PodUsages> of_pods(const std::string& namespace_, const api::Selector& pods,
                                         const api::MetricIdentifier& metric) override;
  Result<std::int64_t> of_object(const std::string& namespace_, const api::CrossVersionObjectReference& object,
                                 const api::MetricIdentifier& metric) override;
  Result<std::int64_t> external(const std::string& namespace_, const api::MetricIdentifier& metric) override;

 private:
  client::Client& client_;
  client::MetricsApi api_;
};

}  // namespace skiff::cluster
