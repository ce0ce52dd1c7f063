#pragma once
// custom.metrics.k8s.io and external.metrics.k8s.io: numbers that aggregated API servers serve, read as JSON since they
// are nobody's stored objects (k8s.io/metrics/pkg/client).

#include <functional>
#include <string>
#include <vector>

#include "api/values.hpp"
#include "base/clock.hpp"
#include "client/http_client.hpp"

namespace skiff::client {

struct MetricValue {
  std::string object;  // whose it is; empty for external metrics
  std::int64_t milli = 0;
  api::Time timestamp;
  Duration window = std::chrono::seconds(60);
};

/// A metric's name with what narrows it, a label selector as text.
struct MetricQuery {
  std::string namespace_;
  std::string name;
  std::string selector;
};

/// Any thread if `get` may be called from any. Errors say what kube-controller-manager says.
class MetricsApi {
 public:
  using Get = std::function<Result<HttpAnswer>(const std::string& path)>;
  explicit MetricsApi(Get get) : get_(std::move(get)) {}

  /// Of the pods that the label selector `pods` names; at least one.
  Result<std::vector<MetricValue>> of_pods(const MetricQuery& metric, const std::string& pods) const;
  /// `resource` is "ingresses.networking.k8s.io"; "namespaces" is the namespace itself.
  Result<MetricValue> of_object(const MetricQuery& metric, const std::string& resource, const std::string& name) const;
  /// All series of the metric; at least one.
  Result<std::vector<MetricValue>> external(const MetricQuery& metric) const;

 private:
  Result<std::vector<MetricValue>> custom(const std::string& path) const;

  Get get_;
};

}  // namespace skiff::client
