#pragma once
// Who measures what nodes and pods use; registry/kinds/metrics.cpp serves it as metrics.k8s.io.

#include <functional>
#include <vector>

#include "api/gen/metrics.hpp"

namespace skiff::registry {

/// Asked on the thread of the request; may take a moment.
struct UsageSource {
  std::function<std::vector<api::NodeMetrics>()> nodes;
  std::function<std::vector<api::PodMetrics>()> pods;
};

}  // namespace skiff::registry
