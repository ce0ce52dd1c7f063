#pragma once
// What failures and successes of single pods mean for a Job (pkg/controller/job/{pod_failure_policy,success_policy,
// indexed_job_utils,backoff_utils}.go). Pure.

#include <map>
#include <optional>
#include <set>
#include <string>

#include "api/gen/batch.hpp"
#include "client/object.hpp"

namespace skiff::controllers {

/// On pods of Jobs with backoffLimitPerIndex: how often their index had failed before, and how often by failures that
/// the policy ignores.
inline constexpr char kIndexFailureCount[] = "batch.kubernetes.io/job-index-failure-count";
inline constexpr char kIndexIgnoredCount[] = "batch.kubernetes.io/job-index-ignored-failure-count";

enum class FailureAction { Count, Ignore, FailIndex, FailJob };
struct FailureRuling {
  FailureAction action = FailureAction::Count;
  std::string message;  // for FailJob
};
/// What the Job's podFailurePolicy says of a pod that has failed.
FailureRuling rule_on_failure(const api::Job& job, const api::Pod& pod);

/// How an index has fared.
struct IndexFailures {
  std::int32_t count = 0;
  std::int32_t ignored = 0;
  api::Time last;
  std::int32_t all() const { return count + ignored; }
};
/// How the pod's index had fared before the pod, as its annotations say.
IndexFailures failures_before(const api::Pod& pod);
/// When the index may be tried again.
WallTime retry_time(const IndexFailures& failures);

/// The rule of successPolicy that the completed indexes meet.
std::optional<size_t> met_success_rule(const api::Job& job, const std::set<int>& completed);

}  // namespace skiff::controllers
