#include "controllers/job_plan.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "api/pods.hpp"

namespace skiff::controllers {
namespace {

constexpr std::int64_t kFirstBackoff = 10, kLongestBackoff = 600;  // seconds

template <class List, class Item>
bool contains(const List& list, const Item& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

bool is_indexed(const api::Job& job) { return job.spec.completionMode == "Indexed"; }

// A pod that is deleted before it succeeds has failed, unless its replacement waits for the end.
bool has_failed(const api::Job& job, const api::Pod& pod) {
  if (pod.status.phase == "Failed") return true;
  bool terminating_counts = job.spec.podReplacementPolicy != "Failed" && !job.spec.suspend.value_or(false);
  return terminating_counts && pod.metadata.deletionTimestamp && pod.status.phase != "Succeeded";
}

api::Time end_of(const api::Pod& pod) {
  api::Time end = pod.metadata.creationTimestamp;
  for (const api::ContainerStatus& status : pod.status.containerStatuses)
    if (status.state.terminated) end = std::max(end, status.state.terminated->finishedAt);
  return end;
}

void note_end(JobProgress& progress, const api::Job& job, const client::Ref<api::Pod>& pod,
              api::UncountedTerminatedPods& uncounted) {
  bool succeeded = pod->status.phase == "Succeeded";
  std::vector<std::string>& list = succeeded ? uncounted.succeeded : uncounted.failed;
  if (!contains(list, pod->metadata.uid)) list.push_back(pod->metadata.uid);
  progress.counted.push_back(pod);
  if (succeeded && is_indexed(job))
    if (std::optional<int> index = index_of(*pod)) progress.completed.insert(*index);
}

// Which index failed, and whether for good. `counts`: false for a failure that the policy ignores.
void note_index_failure(JobProgress& progress, const api::Job& job, const api::Pod& pod, bool for_good, bool counts) {
  std::optional<int> index = index_of(pod);
  if (!index || !job.spec.backoffLimitPerIndex) return;
  IndexFailures failures = failures_before(pod);
  ++(counts ? failures.count : failures.ignored);
  failures.last = end_of(pod);
  if (for_good || failures.count > *job.spec.backoffLimitPerIndex) {
    progress.failed_indexes.insert(*index);
    return;
  }
  IndexFailures& known = progress.index_failures[*index];
  const bool newer = std::pair(failures.all(), failures.last) > std::pair(known.all(), known.last);
  if (newer) known = failures;
}

// The pod of each open index that has failed most: what the next one has to know is written there.
std::map<int, std::string> record_holders(const api::Job& job, const JobPods& pods, const JobProgress& progress) {
  std::map<int, std::string> holders;
  if (!job.spec.backoffLimitPerIndex) return holders;
  std::map<int, std::pair<std::int32_t, api::Time>> most;
  for (const client::Ref<api::Pod>& pod : pods) {
    std::optional<int> index = index_of(*pod);
    if (!index || progress.completed.contains(*index) || progress.failed_indexes.contains(*index)) continue;
    const auto rank = std::pair(failures_before(*pod).all(), end_of(*pod));
    auto [known, first] = most.try_emplace(*index, rank);
    if (!first && rank <= known->second) continue;
    known->second = rank;
    holders[*index] = pod->metadata.uid;
  }
  return holders;
}

// A failed pod by the policy: false when it is as if it had not been.
bool counts_as_failed(JobProgress& progress, const api::Job& job, const client::Ref<api::Pod>& pod) {
  FailureRuling ruling = rule_on_failure(job, *pod);
  if (ruling.action == FailureAction::Ignore) {
    if (is_tracked(*pod)) progress.ignored.push_back(pod);
    note_index_failure(progress, job, *pod, false, false);
    return false;
  }
  if (ruling.action == FailureAction::FailJob && !progress.fail_job) progress.fail_job = std::move(ruling.message);
  note_index_failure(progress, job, *pod, ruling.action == FailureAction::FailIndex, true);
  return true;
}

// Pods whose finalizer is gone move from the waiting room into the counter.
void settle(std::vector<std::string>& waiting, std::int32_t& counter, const JobPods& pods) {
  std::erase_if(waiting, [&](const std::string& uid) {
    bool tracked = std::any_of(pods.begin(), pods.end(),
                               [&](const auto& pod) { return pod->metadata.uid == uid && is_tracked(*pod); });
    if (!tracked) ++counter;
    return !tracked;
  });
}

// Takes the record holders back from among those that may lose their finalizer.
void keep_records(JobProgress& progress, const api::Job& job, const JobPods& pods, api::UncountedTerminatedPods& uncounted) {
  const std::map<int, std::string> holders = record_holders(job, pods, progress);
  auto holds = [&](const client::Ref<api::Pod>& pod) {
    std::optional<int> index = index_of(*pod);
    auto holder = index ? holders.find(*index) : holders.end();
    return holder != holders.end() && holder->second == pod->metadata.uid;
  };
  std::erase_if(progress.ignored, holds);
  std::erase_if(progress.counted, [&](const client::Ref<api::Pod>& pod) {
    if (pod->status.phase == "Succeeded" || !holds(pod)) return false;
    progress.records.push_back(pod);
    std::erase(uncounted.failed, pod->metadata.uid);
    return true;
  });
}

}  // namespace

Indexes parse_indexes(const std::string& text) {
  Indexes indexes;
  const char *at = text.data(), *end = at + text.size();
  while (at < end) {
    int from = 0, to = 0;
    auto first = std::from_chars(at, end, from);
    if (first.ec != std::errc()) return indexes;
    at = first.ptr;
    to = from;
    if (at < end && *at == '-') {
      auto last = std::from_chars(at + 1, end, to);
      if (last.ec != std::errc()) return indexes;
      at = last.ptr;
    }
    for (int i = from; i <= to; ++i) indexes.insert(i);
    if (at < end) ++at;  // the comma
  }
  return indexes;
}

std::string index_text(const Indexes& indexes) {
  std::string text;
  for (auto at = indexes.begin(); at != indexes.end();) {
    int from = *at, to = from;
    for (++at; at != indexes.end() && *at == to + 1; ++at) ++to;
    if (!text.empty()) text += ",";
    text += to == from ? std::to_string(from) : fmt::format("{}{}{}", from, to == from + 1 ? "," : "-", to);
  }
  return text;
}

std::optional<int> index_of(const api::Pod& pod) {
  auto annotation = pod.metadata.annotations.find(kCompletionIndex);
  if (annotation == pod.metadata.annotations.end()) return std::nullopt;
  int index = 0;
  const std::string& text = annotation->second;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return index;
}

const api::JobCondition* find_condition(const api::JobStatus& status, std::string_view type) {
  for (const api::JobCondition& condition : status.conditions)
    if (condition.type == type) return &condition;
  return nullptr;
}

bool is_finished(const api::Job& job) {
  for (const char* type : {"Complete", "Failed"}) {
    const api::JobCondition* condition = find_condition(job.status, type);
    if (condition && condition->status == "True") return true;
  }
  return false;
}

bool is_tracked(const api::Pod& pod) {
  return contains(pod.metadata.finalizers, std::string_view(kJobTracking));
}

JobProgress count_pods(const api::Job& job, const JobPods& pods, api::JobStatus& status) {
  JobProgress progress;
  progress.completed = parse_indexes(status.completedIndexes);
  progress.failed_indexes = parse_indexes(status.failedIndexes);
  api::UncountedTerminatedPods uncounted;
  if (status.uncountedTerminatedPods) uncounted = *status.uncountedTerminatedPods;
  settle(uncounted.succeeded, status.succeeded, pods);
  settle(uncounted.failed, status.failed, pods);
  for (const client::Ref<api::Pod>& pod : pods) {
    bool failed = has_failed(job, *pod) && counts_as_failed(progress, job, pod);
    bool ended = failed || pod->status.phase == "Succeeded";
    if (failed) progress.last_failure = std::max(progress.last_failure.value_or(api::Time()), end_of(*pod));
    if (ended && is_tracked(*pod)) note_end(progress, job, pod, uncounted);
    if (api::is_finished(*pod)) continue;
    if (pod->metadata.deletionTimestamp) {
      progress.terminating.push_back(pod);
      continue;
    }
    progress.active.push_back(pod);
    if (api::is_ready(*pod)) ++progress.ready;
    for (const api::ContainerStatus& one : pod->status.containerStatuses)
      progress.restarts += one.restartCount;
  }
  keep_records(progress, job, pods, uncounted);
  progress.succeeded = status.succeeded + static_cast<std::int32_t>(uncounted.succeeded.size());
  progress.failed = status.failed + static_cast<std::int32_t>(uncounted.failed.size() + progress.records.size());
  if (is_indexed(job)) {
    status.completedIndexes = index_text(progress.completed);
    progress.succeeded = static_cast<std::int32_t>(progress.completed.size());
  }
  if (job.spec.backoffLimitPerIndex) status.failedIndexes = index_text(progress.failed_indexes);
  status.uncountedTerminatedPods = uncounted;
  return progress;
}

void count_records(JobProgress& progress, api::JobStatus& status) {
  api::UncountedTerminatedPods& uncounted = status.uncountedTerminatedPods.ensure();
  for (const client::Ref<api::Pod>& pod : progress.records) {
    uncounted.failed.push_back(pod->metadata.uid);
    progress.counted.push_back(pod);
  }
  progress.records.clear();
}

std::optional<JobVerdict> judge(const api::Job& job, const JobProgress& progress, api::Time now) {
  if (progress.fail_job) return JobVerdict{true, "PodFailurePolicy", *progress.fail_job};
  if (std::optional<size_t> rule = met_success_rule(job, progress.completed))
    return JobVerdict{false, "SuccessPolicy", fmt::format("Matched rules at index {}", *rule)};
  const std::int32_t limit = job.spec.backoffLimit.value_or(
      job.spec.backoffLimitPerIndex ? std::numeric_limits<std::int32_t>::max() : 6);
  bool in_place = job.spec.template_.spec.restartPolicy == "OnFailure";
  bool restarted_enough = in_place && (limit == 0 ? progress.restarts > 0 : progress.restarts >= limit);
  if (progress.failed > limit || restarted_enough)
    return JobVerdict{true, "BackoffLimitExceeded", "Job has reached the specified backoff limit"};
  if (job.spec.activeDeadlineSeconds && job.status.startTime && !job.spec.suspend.value_or(false) &&
      now.unix_seconds() - job.status.startTime.unix_seconds() >= *job.spec.activeDeadlineSeconds)
    return JobVerdict{true, "DeadlineExceeded", "Job was active longer than specified deadline"};
  const auto lost = static_cast<std::int32_t>(progress.failed_indexes.size());
  if (job.spec.maxFailedIndexes && lost > *job.spec.maxFailedIndexes)
    return JobVerdict{true, "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"};
  if (lost > 0 && lost + progress.succeeded >= job.spec.completions.value_or(0))
    return JobVerdict{true, "FailedIndexes", "Job has failed indexes"};
  bool reached = job.spec.completions ? progress.succeeded >= *job.spec.completions
                                      : progress.succeeded > 0 && progress.active.empty();
  if (!reached) return std::nullopt;
  return JobVerdict{false, "CompletionsReached", "Reached expected number of succeeded pods"};
}

int wanted_change(const api::Job& job, const JobProgress& progress) {
  int active = static_cast<int>(progress.active.size());
  if (job.spec.suspend.value_or(false)) return -active;
  int wanted = job.spec.parallelism.value_or(1);
  if (job.spec.completions)
    wanted = std::min(wanted, std::max(0, *job.spec.completions - progress.succeeded -
                                              static_cast<std::int32_t>(progress.failed_indexes.size())));
  else if (progress.succeeded > 0)
    wanted = std::min(wanted, active);
  // Where a replacement waits for the end of the old pod, that one still holds its place.
  if (job.spec.podReplacementPolicy == "Failed" && wanted > active)
    wanted = std::max(active, wanted - static_cast<int>(progress.terminating.size()));
  return wanted - active;
}

std::vector<int> free_indexes(const api::Job& job, const JobProgress& progress, int count, api::Time now) {
  Indexes taken = progress.completed;
  taken.insert(progress.failed_indexes.begin(), progress.failed_indexes.end());
  auto take = [&](const JobPods& pods) {
    for (const client::Ref<api::Pod>& pod : pods)
      if (std::optional<int> index = index_of(*pod)) taken.insert(*index);
  };
  take(progress.active);
  if (job.spec.podReplacementPolicy == "Failed") take(progress.terminating);
  for (const auto& [index, failures] : progress.index_failures)
    if (retry_time(failures) > now.wall()) taken.insert(index);
  std::vector<int> free;
  for (int i = 0; i < job.spec.completions.value_or(0) && static_cast<int>(free.size()) < count; ++i)
    if (!taken.contains(i)) free.push_back(i);
  return free;
}

std::optional<WallTime> backoff_end(const JobProgress& progress, api::Time now) {
  if (progress.failed == 0 || !progress.last_failure || !*progress.last_failure) return std::nullopt;
  std::int64_t delay = kFirstBackoff;
  for (int i = 1; i < progress.failed && delay < kLongestBackoff; ++i) delay *= 2;
  WallTime end = progress.last_failure->wall() + std::chrono::seconds(std::min(delay, kLongestBackoff));
  if (end <= now.wall()) return std::nullopt;
  return end;
}

}  // namespace skiff::controllers
