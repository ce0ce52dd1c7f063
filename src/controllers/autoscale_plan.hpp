#pragma once
// How many replicas metrics ask for, and how fast the number may change
// (pkg/controller/podautoscaler/{replica_calculator,horizontal}.go). Pure.

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/gen/autoscaling.hpp"
#include "api/gen/pod.hpp"
#include "base/clock.hpp"
#include "client/object.hpp"

namespace skiff::controllers {

/// One pod's usage: thousandths of the metric's unit.
struct PodUsage {
  std::int64_t milli = 0;
  api::Time timestamp;
  Duration window{};
};
using PodUsages = std::map<std::string, PodUsage>;
using ScaledPods = std::vector<client::Ref<api::Pod>>;

struct Tolerance {
  double up = 0.1, down = 0.1;
  bool within(double ratio) const { return ratio >= 1.0 - down && ratio <= 1.0 + up; }
};
Tolerance tolerance_of(const api::HorizontalPodAutoscaler& scaler);

/// What one metric says.
struct Proposal {
  std::int32_t replicas = 0;
  std::int64_t milli = 0;                     // average a pod
  std::optional<std::int32_t> utilization{};  // average, in percent of requests
};

/// Sum over the pods' containers, or of one of them. Invalid: a container that asks for nothing.
Result<std::map<std::string, std::int64_t>> requests_of(const ScaledPods& pods, const std::string& resource,
                                                        const std::string& container);

struct UsageQuestion {
  std::int32_t current;
  const ScaledPods& pods;
  PodUsages usages;
  std::string resource;                             // "cpu" is not believed of pods that only start
  std::map<std::string, std::int64_t> requests{};   // for a target in percent
  std::int32_t target_percent = 0;
  std::int64_t target_milli = 0;                    // else: an average value
  Tolerance tolerance{};
  api::Time now;
};
/// Invalid: nothing was measured of any pod that counts.
Result<Proposal> replicas_for_usage(UsageQuestion question);
/// For a number that does not belong to pods: `ratio` of it to its target.
std::int32_t replicas_for_ratio(double ratio, std::int32_t current, std::int32_t ready, const Tolerance& tolerance);

/// What was recommended and done lately, for stabilisation and rates.
struct ScaleHistory {
  struct Entry {
    std::int32_t replicas;  // recommended; or added, removed
    TimePoint when;
  };
  std::deque<Entry> recommendations, ups, downs;
};

struct Normalised {
  std::int32_t replicas;
  api::HorizontalPodAutoscalerCondition able, limited;  // AbleToScale, ScalingLimited
};
/// Holds a recommendation to limits and behavior; notes it in `history`.
Normalised normalise(const api::HorizontalPodAutoscaler& scaler, std::int32_t current, std::int32_t desired,
                     ScaleHistory& history, TimePoint now);
/// Notes a change that was made.
void note_scaling(ScaleHistory& history, std::int32_t before, std::int32_t after, TimePoint now);

api::HorizontalPodAutoscalerCondition scaler_condition(const char* type, bool status, std::string reason,
                                                       std::string message);

}  // namespace skiff::controllers
