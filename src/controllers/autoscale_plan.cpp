#include "controllers/autoscale_plan.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "api/pods.hpp"

namespace skiff::controllers {
namespace {

using api::HorizontalPodAutoscaler;
using api::HPAScalingRules;

constexpr std::int64_t kCpuStartSeconds = 300;  // --horizontal-pod-autoscaler-cpu-initialization-period
constexpr std::int64_t kReadinessDelay = 30;    // --horizontal-pod-autoscaler-initial-readiness-delay
constexpr std::int64_t kLeastWindow = 15;
constexpr Duration kDownStabilization = 300s;
constexpr Duration kLongestPeriod = 1h;

// ---- usage

struct Groups {
  std::set<std::string> unready, missing, ignored;
  std::int32_t ready = 0;
};

// What a pod burns while it starts says nothing about its load.
bool only_starts(const api::Pod& pod, const PodUsage& usage, api::Time now) {
  const api::PodCondition* ready = api::find_condition(pod.status, "Ready");
  if (!ready || !pod.status.startTime) return true;
  const std::int64_t started = pod.status.startTime.unix_seconds(), changed = ready->lastTransitionTime.unix_seconds();
  if (started + kCpuStartSeconds > now.unix_seconds()) {
    // Kubelets here measure from a container's first moment: a window as long as metrics-server's has to be full.
    const std::int64_t window = std::max(kLeastWindow, std::chrono::duration_cast<std::chrono::seconds>(usage.window).count());
    return ready->status == "False" || usage.timestamp.unix_seconds() < changed + window;
  }
  return ready->status == "False" && started + kReadinessDelay > changed;
}

Groups group_pods(const UsageQuestion& question) {
  Groups groups;
  for (const auto& pod : question.pods) {
    const std::string& name = pod->metadata.name;
    auto usage = question.usages.find(name);
    if (pod->metadata.deletionTimestamp || pod->status.phase == "Failed") groups.ignored.insert(name);
    else if (pod->status.phase == "Pending") groups.unready.insert(name);
    else if (usage == question.usages.end()) groups.missing.insert(name);
    else if (question.resource == "cpu" && only_starts(*pod, usage->second, question.now)) groups.unready.insert(name);
    else ++groups.ready;
  }
  return groups;
}

struct Ratio {
  double ratio = 0;
  std::int64_t average = 0;
  std::int32_t percent = 0;
};

Ratio ratio_of(const UsageQuestion& question) {
  std::int64_t used = 0, requested = 0;
  for (const auto& [pod, usage] : question.usages) {
    auto request = question.requests.find(pod);
    if (question.target_percent > 0 && request == question.requests.end()) continue;
    used += usage.milli;
    if (question.target_percent > 0) requested += request->second;
  }
  const auto count = static_cast<std::int64_t>(question.usages.size());
  Ratio result;
  result.average = count == 0 ? 0 : used / count;
  if (question.target_percent > 0) {
    result.percent = requested == 0 ? 0 : static_cast<std::int32_t>(used * 100 / requested);
    result.ratio = static_cast<double>(result.percent) / question.target_percent;
  } else {
    result.ratio = static_cast<double>(result.average) / static_cast<double>(question.target_milli);
  }
  return result;
}

// Pods of which nothing is known are taken for what does not strengthen the case.
void fill_in(UsageQuestion& question, const Groups& groups, double ratio) {
  for (const std::string& pod : groups.missing) {
    if (ratio < 1.0) {
      auto request = question.requests.find(pod);
      std::int64_t asked = request == question.requests.end() ? 0 : request->second;
      question.usages[pod].milli = question.target_percent > 0 ? asked * std::max(100, question.target_percent) / 100
                                                               : question.target_milli;
    } else if (ratio > 1.0) {
      question.usages[pod].milli = 0;
    }
  }
  if (ratio > 1.0)
    for (const std::string& pod : groups.unready) question.usages[pod].milli = 0;
}

// ---- rates

std::int32_t changed_within(const std::deque<ScaleHistory::Entry>& changes, Duration period, TimePoint now) {
  std::int32_t sum = 0;
  for (const auto& one : changes)
    if (one.when > now - period) sum += one.replicas;
  return sum;
}

std::int32_t up_limit(const HPAScalingRules& rules, std::int32_t current, const ScaleHistory& history, TimePoint now) {
  if (rules.selectPolicy == "Disabled") return current;
  bool least = rules.selectPolicy == "Min";
  std::int64_t limit = least ? std::numeric_limits<std::int32_t>::max() : std::numeric_limits<std::int32_t>::min();
  for (const api::HPAScalingPolicy& policy : rules.policies) {
    Duration period = std::chrono::seconds(policy.periodSeconds);
    std::int64_t start = current - changed_within(history.ups, period, now) + changed_within(history.downs, period, now);
    std::int64_t proposed = policy.type == "Pods"
                                ? start + policy.value
                                : static_cast<std::int64_t>(std::ceil(static_cast<double>(start) * (1 + policy.value / 100.0)));
    limit = least ? std::min(limit, proposed) : std::max(limit, proposed);
  }
  return static_cast<std::int32_t>(std::max<std::int64_t>(limit, current));
}

std::int32_t down_limit(const HPAScalingRules& rules, std::int32_t current, const ScaleHistory& history, TimePoint now) {
  if (rules.selectPolicy == "Disabled") return current;
  bool least = rules.selectPolicy == "Min";
  std::int64_t limit = least ? std::numeric_limits<std::int32_t>::min() : std::numeric_limits<std::int32_t>::max();
  for (const api::HPAScalingPolicy& policy : rules.policies) {
    Duration period = std::chrono::seconds(policy.periodSeconds);
    std::int64_t start = current - changed_within(history.ups, period, now) + changed_within(history.downs, period, now);
    std::int64_t proposed = policy.type == "Pods"
                                ? start - policy.value
                                : static_cast<std::int64_t>(static_cast<double>(start) * (1 - policy.value / 100.0));
    limit = least ? std::max(limit, proposed) : std::min(limit, proposed);
  }
  return static_cast<std::int32_t>(std::min<std::int64_t>(limit, current));
}

// Absent rules are Kubernetes' defaults (SetDefaults_HorizontalPodAutoscalerBehavior).
HPAScalingRules up_rules(const HorizontalPodAutoscaler& scaler) {
  HPAScalingRules rules;
  if (scaler.spec.behavior && scaler.spec.behavior->scaleUp) rules = *scaler.spec.behavior->scaleUp;
  if (rules.policies.empty()) {
    rules.policies.resize(2);
    rules.policies[0] = {"Pods", 4, 15};
    rules.policies[1] = {"Percent", 100, 15};
  }
  if (!rules.stabilizationWindowSeconds) rules.stabilizationWindowSeconds = 0;
  return rules;
}
HPAScalingRules down_rules(const HorizontalPodAutoscaler& scaler) {
  HPAScalingRules rules;
  if (scaler.spec.behavior && scaler.spec.behavior->scaleDown) rules = *scaler.spec.behavior->scaleDown;
  if (rules.policies.empty()) {
    rules.policies.resize(1);
    rules.policies[0] = {"Percent", 100, 15};
  }
  if (!rules.stabilizationWindowSeconds) rules.stabilizationWindowSeconds = 300;
  return rules;
}

// ---- stabilisation

struct Stabilised {
  std::int32_t replicas;
  const char* reason;
  const char* message;
};
constexpr Stabilised kSame{0, "ReadyForNewScale", "recommended size matches current size"};
constexpr Stabilised kDown{0, "ScaleDownStabilized",
                           "recent recommendations were higher than current one, applying the highest recent recommendation"};
constexpr Stabilised kUp{0, "ScaleUpStabilized",
                         "recent recommendations were lower than current one, applying the lowest recent recommendation"};

Stabilised with(Stabilised outcome, std::int32_t replicas) {
  outcome.replicas = replicas;
  return outcome;
}

Stabilised stabilise(const HorizontalPodAutoscaler& scaler, std::int32_t current, std::int32_t desired,
                     ScaleHistory& history, TimePoint now) {
  const bool behaves = static_cast<bool>(scaler.spec.behavior);
  Duration up = behaves ? Duration(std::chrono::seconds(*up_rules(scaler).stabilizationWindowSeconds)) : Duration::zero();
  Duration down = behaves ? Duration(std::chrono::seconds(*down_rules(scaler).stabilizationWindowSeconds)) : kDownStabilization;
  if (history.recommendations.empty()) history.recommendations.push_back({current, now});
  std::int32_t lowest = desired, highest = desired;
  for (const auto& one : history.recommendations) {
    if (one.when > now - up) lowest = std::min(lowest, one.replicas);
    if (one.when > now - down) highest = std::max(highest, one.replicas);
  }
  history.recommendations.push_back({desired, now});
  while (history.recommendations.size() > 1 && history.recommendations.front().when <= now - std::max(up, down))
    history.recommendations.pop_front();
  if (!behaves) return highest == desired ? with(kSame, desired) : with(kDown, highest);
  std::int32_t stable = current;
  if (stable < lowest) stable = lowest;
  if (stable > highest) stable = highest;
  if (stable == desired) return with(kSame, stable);
  return with(desired >= current ? kUp : kDown, stable);
}

// ---- limits

struct Limited {
  std::int32_t replicas;
  const char* reason = "DesiredWithinRange";
  const char* message = "the desired count is within the acceptable range";
};
constexpr char kTooFew[] = "the desired replica count is less than the minimum replica count";
constexpr char kTooMany[] = "the desired replica count is more than the maximum replica count";
constexpr char kTooFast[] = "the desired replica count is increasing faster than the maximum scale rate";

Limited limit(const HorizontalPodAutoscaler& scaler, std::int32_t current, std::int32_t desired,
              const ScaleHistory& history, TimePoint now) {
  const std::int32_t least = scaler.spec.minReplicas.value_or(1), most = scaler.spec.maxReplicas;
  const bool behaves = static_cast<bool>(scaler.spec.behavior);
  if (behaves && desired < current) {
    std::int32_t allowed = down_limit(down_rules(scaler), current, history, now);
    std::int32_t floor = std::max(least, allowed);
    if (desired >= floor) return {desired};
    if (allowed > least)
      return {floor, "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate"};
    return {floor, "TooFewReplicas", kTooFew};
  }
  if (behaves && desired == current) return {std::clamp(desired, least, most)};
  if (desired < least) return {least, "TooFewReplicas", kTooFew};
  std::int32_t allowed = behaves ? up_limit(up_rules(scaler), current, history, now) : std::max(2 * current, 4);
  if (desired <= std::min(most, allowed)) return {desired};
  if (most > allowed) return {allowed, "ScaleUpLimit", kTooFast};
  return {most, "TooManyReplicas", kTooMany};
}

}  // namespace

Tolerance tolerance_of(const HorizontalPodAutoscaler& scaler) {
  Tolerance tolerance;
  if (!scaler.spec.behavior) return tolerance;
  auto set = [](double& to, const auto& rules) {
    if (rules && rules->tolerance) to = static_cast<double>(rules->tolerance->milli()) / 1000.0;
  };
  set(tolerance.up, scaler.spec.behavior->scaleUp);
  set(tolerance.down, scaler.spec.behavior->scaleDown);
  return tolerance;
}

Result<std::map<std::string, std::int64_t>> requests_of(const ScaledPods& pods, const std::string& resource,
                                                        const std::string& container) {
  std::map<std::string, std::int64_t> requests;
  for (const auto& pod : pods) {
    std::int64_t sum = 0;
    auto add = [&](const api::Container& one) -> Status {
      if (!container.empty() && one.name != container) return ok();
      auto request = one.resources.requests.find(resource);
      if (request == one.resources.requests.end())
        return error(Code::Invalid, "missing request for {} in container {} of Pod {}", resource, one.name, pod->metadata.name);
      sum += request->second.milli();
      return ok();
    };
    for (const api::Container& one : pod->spec.containers) TRY(add(one));
    for (const api::Container& one : pod->spec.initContainers)
      if (api::is_sidecar(one)) TRY(add(one));
    requests[pod->metadata.name] = sum;
  }
  return requests;
}

Result<Proposal> replicas_for_usage(UsageQuestion question) {
  const Groups groups = group_pods(question);
  for (const auto& set : {groups.ignored, groups.unready})
    for (const std::string& pod : set) question.usages.erase(pod);
  if (question.usages.empty())
    return Error(Code::Invalid, "did not receive metrics for targeted pods (pods might be unready)");
  const Ratio first = ratio_of(question);
  Proposal proposal{question.current, first.average,
                    question.target_percent > 0 ? std::optional(first.percent) : std::nullopt};
  bool unready_matter = !groups.unready.empty() && first.ratio > 1.0;
  if (!unready_matter && groups.missing.empty()) {
    if (!question.tolerance.within(first.ratio))
      proposal.replicas = static_cast<std::int32_t>(std::ceil(first.ratio * groups.ready));
    return proposal;
  }
  fill_in(question, groups, first.ratio);
  const double ratio = ratio_of(question).ratio;
  if (question.tolerance.within(ratio) || (first.ratio < 1.0 && ratio > 1.0) || (first.ratio > 1.0 && ratio < 1.0))
    return proposal;
  auto replicas = static_cast<std::int32_t>(std::ceil(ratio * static_cast<double>(question.usages.size())));
  bool backwards = (ratio < 1.0 && replicas > question.current) || (ratio > 1.0 && replicas < question.current);
  if (!backwards) proposal.replicas = replicas;
  return proposal;
}

std::int32_t replicas_for_ratio(double ratio, std::int32_t current, std::int32_t ready, const Tolerance& tolerance) {
  if (current == 0) return static_cast<std::int32_t>(std::ceil(ratio));
  return tolerance.within(ratio) ? current : static_cast<std::int32_t>(std::ceil(ratio * ready));
}

Normalised normalise(const HorizontalPodAutoscaler& scaler, std::int32_t current, std::int32_t desired,
                     ScaleHistory& history, TimePoint now) {
  const Stabilised stable = stabilise(scaler, current, desired, history, now);
  const Limited limited = limit(scaler, current, stable.replicas, history, now);
  return {limited.replicas, scaler_condition("AbleToScale", true, stable.reason, stable.message),
          scaler_condition("ScalingLimited", std::string_view(limited.reason) != "DesiredWithinRange", limited.reason,
                           limited.message)};
}

void note_scaling(ScaleHistory& history, std::int32_t before, std::int32_t after, TimePoint now) {
  if (after > before) history.ups.push_back({after - before, now});
  if (after < before) history.downs.push_back({before - after, now});
  for (auto* changes : {&history.ups, &history.downs})
    while (!changes->empty() && changes->front().when <= now - kLongestPeriod) changes->pop_front();
}

api::HorizontalPodAutoscalerCondition scaler_condition(const char* type, bool status, std::string reason,
                                                       std::string message) {
  api::HorizontalPodAutoscalerCondition condition;
  condition.type = type;
  condition.status = status ? "True" : "False";
  condition.reason = std::move(reason);
  condition.message = std::move(message);
  return condition;
}

}  // namespace skiff::controllers
