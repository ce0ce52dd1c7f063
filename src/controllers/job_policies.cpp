#include "controllers/job_policies.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

#include "controllers/job_plan.hpp"

namespace skiff::controllers {
namespace {

constexpr std::int64_t kFirstBackoff = 10, kLongestBackoff = 600;  // seconds

const api::ContainerStatus* matching_exit(const api::PodFailurePolicyOnExitCodesRequirement& wanted, const api::Pod& pod) {
  for (const auto* statuses : {&pod.status.containerStatuses, &pod.status.initContainerStatuses})
    for (const api::ContainerStatus& status : *statuses) {
      if (!wanted.containerName.empty() && wanted.containerName != status.name) continue;
      if (!status.state.terminated || status.state.terminated->exitCode == 0) continue;
      bool listed = std::find(wanted.values.begin(), wanted.values.end(), status.state.terminated->exitCode) != wanted.values.end();
      if (listed == (wanted.operator_ == "In")) return &status;
    }
  return nullptr;
}

// How the rule matches, for people; nothing when it does not.
std::optional<std::string> match(const api::PodFailurePolicyRule& rule, size_t index, const api::Pod& pod) {
  const std::string name = client::key_of(pod).str();
  if (rule.onExitCodes) {
    const api::ContainerStatus* status = matching_exit(*rule.onExitCodes, pod);
    if (!status) return std::nullopt;
    return fmt::format("Container {} for pod {} failed with exit code {} matching {} rule at index {}", status->name, name,
                       status->state.terminated->exitCode, rule.action, index);
  }
  for (const auto& wanted : rule.onPodConditions)
    for (const api::PodCondition& has : pod.status.conditions)
      if (has.type == wanted.type && has.status == (wanted.status.empty() ? "True" : wanted.status))
        return fmt::format("Pod {} has condition {} matching {} rule at index {}", name, has.type, rule.action, index);
  return std::nullopt;
}

}  // namespace

FailureRuling rule_on_failure(const api::Job& job, const api::Pod& pod) {
  if (!job.spec.podFailurePolicy || pod.status.phase != "Failed") return {};
  const auto& rules = job.spec.podFailurePolicy->rules;
  for (size_t i = 0; i < rules.size(); ++i) {
    std::optional<std::string> how = match(rules[i], i, pod);
    if (!how) continue;
    if (rules[i].action == "Ignore") return {FailureAction::Ignore, ""};
    if (rules[i].action == "FailIndex") return {FailureAction::FailIndex, ""};
    if (rules[i].action == "FailJob") return {FailureAction::FailJob, std::move(*how)};
    return {};
  }
  return {};
}

IndexFailures failures_before(const api::Pod& pod) {
  auto count = [&](const char* key) {
    std::int32_t value = 0;
    auto annotation = pod.metadata.annotations.find(key);
    if (annotation != pod.metadata.annotations.end())
      std::from_chars(annotation->second.data(), annotation->second.data() + annotation->second.size(), value);
    return value;
  };
  return {count(kIndexFailureCount), count(kIndexIgnoredCount), {}};
}

WallTime retry_time(const IndexFailures& failures) {
  if (failures.count == 0) return failures.last.wall();  // only such as do not count
  std::int64_t delay = kFirstBackoff;
  for (int i = 1; i < failures.count && delay < kLongestBackoff; ++i) delay *= 2;
  return failures.last.wall() + std::chrono::seconds(std::min(delay, kLongestBackoff));
}

std::optional<size_t> met_success_rule(const api::Job& job, const std::set<int>& completed) {
  if (!job.spec.successPolicy) return std::nullopt;
  const auto& rules = job.spec.successPolicy->rules;
  for (size_t i = 0; i < rules.size(); ++i) {
    std::set<int> counted = completed;
    size_t wanted = 0;
    if (!rules[i].succeededIndexes.empty()) {
      const Indexes named = parse_indexes(rules[i].succeededIndexes);
      std::erase_if(counted, [&](int index) { return !named.contains(index); });
      wanted = named.size();
    }
    if (rules[i].succeededCount) wanted = static_cast<size_t>(*rules[i].succeededCount);
    if (wanted > 0 && counted.size() >= wanted) return i;
  }
  return std::nullopt;
}

}  // namespace skiff::controllers
