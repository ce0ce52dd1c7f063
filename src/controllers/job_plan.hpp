#pragma once
// What a Job has reached and wants next (pkg/controller/job): pure.

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/gen/batch.hpp"
#include "client/object.hpp"
#include "controllers/job_policies.hpp"

namespace skiff::controllers {

inline constexpr char kJobTracking[] = "batch.kubernetes.io/job-tracking";
inline constexpr char kCompletionIndex[] = "batch.kubernetes.io/job-completion-index";

using JobPods = std::vector<client::Ref<api::Pod>>;
using Indexes = std::set<int>;

/// "0,2-4" and back.
Indexes parse_indexes(const std::string& text);
std::string index_text(const Indexes& indexes);
std::optional<int> index_of(const api::Pod& pod);

const api::JobCondition* find_condition(const api::JobStatus& status, std::string_view type);
/// Complete or Failed.
bool is_finished(const api::Job& job);
bool is_tracked(const api::Pod& pod);  // still has the finalizer by which a Job counts it

/// The pods of a job, told apart, and the counters with what has not been written yet.
struct JobProgress {
  JobPods active, terminating;
  JobPods counted;  // finished and in the status: their finalizers can go
  std::int32_t ready = 0, succeeded = 0, failed = 0;
  Indexes completed;
  std::optional<api::Time> last_failure;
  std::int32_t restarts = 0;  // of pods that restart in place
  JobPods ignored;            // failed, but by the policy it does not count
  // Failed pods that are their index' only record until a pod with the next count is there: they keep their finalizer,
  // so that nobody can take the record away, and are not in the status yet.
  JobPods records;
  Indexes failed_indexes;
  std::map<int, IndexFailures> index_failures;  // with backoffLimitPerIndex, of indexes that may be tried again
  std::optional<std::string> fail_job;          // a pod's failure that ends the job, for people
};
/// Moves newly finished pods into `status.uncountedTerminatedPods` and from there into the counters once
/// their finalizers are gone, so that each is counted once whatever is interrupted.
JobProgress count_pods(const api::Job& job, const JobPods& pods, api::JobStatus& status);

/// The job is at its end: no record is needed any more.
void count_records(JobProgress& progress, api::JobStatus& status);

struct JobVerdict {
  bool failed = false;
  std::string reason, message;
};
/// How the job ends; nothing while it goes on.
std::optional<JobVerdict> judge(const api::Job& job, const JobProgress& progress, api::Time now);

/// How many pods to add (negative: to take away).
int wanted_change(const api::Job& job, const JobProgress& progress);
/// The lowest `count` indexes that are neither complete, failed for good nor active, and may be tried at `now`.
std::vector<int> free_indexes(const api::Job& job, const JobProgress& progress, int count, api::Time now);
/// When pods may be made again after the last failure; nothing: now.
std::optional<WallTime> backoff_end(const JobProgress& progress, api::Time now);

}  // namespace skiff::controllers
