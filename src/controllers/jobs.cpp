// Runs pods to completion (pkg/controller/job, pkg/controller/ttlafterfinished).

#include <atomic>

#include "controllers/job_plan.hpp"
#include "controllers/behind.hpp"
#include "controllers/kinds.hpp"
#include "controllers/ownership.hpp"
#include "controllers/slow_start.hpp"

#include "api/pods.hpp"
#include "client/event_recorder.hpp"

namespace skiff::controllers {
namespace {

constexpr char kIndexVariable[] = "JOB_COMPLETION_INDEX";

void set_condition(api::JobStatus& status, const std::string& type, bool holds, const JobVerdict& why,
                   api::Time now) {
  api::JobCondition condition;
  condition.type = type;
  condition.status = holds ? "True" : "False";
  condition.reason = why.reason;
  condition.message = why.message;
  condition.lastProbeTime = condition.lastTransitionTime = now;
  std::erase_if(status.conditions, [&](const auto& one) { return one.type == type; });
  status.conditions.push_back(std::move(condition));
}

void give_index(api::Pod& pod, const api::Job& job, int index) {
  pod.metadata.generateName = fmt::format("{}-{}-", job.metadata.name, index);
  pod.metadata.annotations[kCompletionIndex] = pod.metadata.labels[kCompletionIndex] = std::to_string(index);
  pod.spec.hostname = fmt::format("{}-{}", job.metadata.name, index);
  auto tell = [](api::Container& container) {
    api::EnvVar& variable = container.env.emplace_back();
    variable.name = kIndexVariable;
    variable.valueFrom.emplace().fieldRef.emplace().fieldPath =
        fmt::format("metadata.labels['{}']", kCompletionIndex);
  };
  std::for_each(pod.spec.initContainers.begin(), pod.spec.initContainers.end(), tell);
  std::for_each(pod.spec.containers.begin(), pod.spec.containers.end(), tell);
}

void note_failures(api::Pod& pod, const JobProgress& progress, int index) {
  auto known = progress.index_failures.find(index);
  const IndexFailures failures = known == progress.index_failures.end() ? IndexFailures() : known->second;
  pod.metadata.annotations[kIndexFailureCount] = std::to_string(failures.count);
  if (failures.ignored > 0) pod.metadata.annotations[kIndexIgnoredCount] = std::to_string(failures.ignored);
}

class Jobs final : public Controller {
 public:
  explicit Jobs(const Context& context)
      : Controller(context, "job-controller", 2),
        jobs_(context.informers.of<api::Job>()),
        pods_(context.informers.of<api::Pod>()),
        events_(context.client, context.clock, context.random, "job-controller") {
    index_orphans(pods_);
    jobs_.on_change([this](const Ref<api::Job>& before, const Ref<api::Job>& now) {
      queue().add(key_of(now ? *now : *before));
    });
    pods_.on_change([this](const Ref<api::Pod>& before, const Ref<api::Pod>& now) {
      for (const Ref<api::Pod>& pod : {before, now})
        if (pod)
          if (std::optional<ObjectKey> key = owner_key<api::Job>(pod->metadata)) queue().add(*key);
      if (now && is_tracked(*now) && (now->metadata.deletionTimestamp || !client::controller_of(now->metadata)))
        queue().add(key_of_orphan(*now));
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    if (key.name.starts_with(kOrphanPrefix)) return free_orphan({key.namespace_, key.name.substr(kOrphanPrefix.size())});
    Ref<api::Job> job = jobs_.get(key);
    if (!job) {
      pods_written_.forget(key);
      written_.forget(key);
      return free_pods_of(key);
    }
    if (!pods_written_.passed(key, pods_.revision()) || !written_.passed(key, jobs_.revision()))
      return behind();
    if (!job->spec.selector || is_foreign(*job)) return Requeue::never();
    TRY_ASSIGN(api::Selector selector, api::Selector::from(*job->spec.selector));
    TRY_ASSIGN(JobPods pods, claim<api::Pod>(client_, pods_, *job, selector));
    if (is_finished(*job)) return after_end(*job, pods);
    if (job->metadata.deletionTimestamp) {
      for (const Ref<api::Pod>& pod : pods) TRY(untrack(*job, *pod));
      return Requeue::never();
    }
    return advance(*job, pods);
  }

 private:
  // Pods that no job counts any more must not be held by the finalizer. Such as may have lost theirs have keys of their
  // own.
  static constexpr std::string_view kOrphanPrefix = "pod/";
  static ObjectKey key_of_orphan(const api::Pod& pod) {
    return {pod.metadata.namespace_, std::string(kOrphanPrefix) + pod.metadata.name};
  }
  Result<Requeue> free_orphan(const ObjectKey& key) {
    Ref<api::Pod> pod = pods_.get(key);
    const api::OwnerReference* owner = pod ? client::controller_of(pod->metadata) : nullptr;
    Ref<api::Job> job = owner ? jobs_.get({key.namespace_, owner->name}) : nullptr;
    if (pod && !(job && job->metadata.uid == owner->uid)) TRY(free(*pod));
    return Requeue::never();
  }
  Result<Requeue> free_pods_of(const ObjectKey& gone) {
    for (const Ref<api::Pod>& pod : pods_.list(gone.namespace_))
      if (owner_key<api::Job>(pod->metadata) == gone) TRY(free(*pod));
    return Requeue::never();
  }

  static bool is_foreign(const api::Job& job) {
    return !job.spec.managedBy.empty() && job.spec.managedBy != "kubernetes.io/job-controller";
  }

  Result<Requeue> advance(const api::Job& job, const JobPods& pods) {
    api::Job next = job;
    note_suspension(next);
    JobProgress progress = count_pods(next, pods, next.status);
    std::optional<JobVerdict> verdict = decided(next);
    if (!verdict) verdict = judge(next, progress, wall_now());
    if (verdict) count_records(progress, next.status);
    if (verdict) note_verdict(next, *verdict, progress);
    next.status.active = static_cast<std::int32_t>(progress.active.size());
    next.status.ready = progress.ready;
    next.status.terminating = static_cast<std::int32_t>(progress.terminating.size());
    TRY(write_status(job, next));
    // Only what is written in the status may lose its finalizer.
    for (const Ref<api::Pod>& pod : progress.counted) TRY(untrack(next, *pod));
    for (const Ref<api::Pod>& pod : progress.ignored) TRY(untrack(next, *pod));
    if (verdict) {
      for (const Ref<api::Pod>& pod : progress.active) TRY(remove(next, *pod, false));
      return Requeue::never();
    }
    TRY(manage(next, progress));
    return Requeue{wake_up(next, progress)};
  }

  // ---- status

  void note_suspension(api::Job& job) {
    bool suspended = job.spec.suspend.value_or(false);
    const api::JobCondition* known = find_condition(job.status, "Suspended");
    bool noted = known && known->status == "True";
    if (suspended != noted) {
      JobVerdict why = suspended ? JobVerdict{false, "JobSuspended", "Job suspended"}
                                 : JobVerdict{false, "JobResumed", "Job resumed"};
      set_condition(job.status, "Suspended", suspended, why, wall_now());
      events_.normal(reference(job), suspended ? "Suspended" : "Resumed", why.message);
      job.status.startTime = suspended ? api::Time() : wall_now();
    }
    if (!suspended && !job.status.startTime) job.status.startTime = wall_now();
  }

  // A verdict once given stands, even if the numbers change while the pods stop.
  static std::optional<JobVerdict> decided(const api::Job& job) {
    for (const char* type : {"SuccessCriteriaMet", "FailureTarget"}) {
      const api::JobCondition* known = find_condition(job.status, type);
      if (known && known->status == "True")
        return JobVerdict{type == std::string_view("FailureTarget"), known->reason, known->message};
    }
    return std::nullopt;
  }

  void note_verdict(api::Job& job, const JobVerdict& verdict, const JobProgress& progress) {
    const char* announced = verdict.failed ? "FailureTarget" : "SuccessCriteriaMet";
    if (!find_condition(job.status, announced))
      set_condition(job.status, announced, true, verdict, wall_now());
    const api::UncountedTerminatedPods& uncounted = *job.status.uncountedTerminatedPods;
    bool settled = uncounted.succeeded.empty() && uncounted.failed.empty();
    if (!settled || !progress.active.empty() || !progress.terminating.empty()) return;
    set_condition(job.status, verdict.failed ? "Failed" : "Complete", true, verdict, wall_now());
    if (verdict.failed) {
      events_.warning(reference(job), verdict.reason, verdict.message);
    } else {
      job.status.completionTime = wall_now();
      events_.normal(reference(job), "Completed", "Job completed");
    }
  }

  Status write_status(const api::Job& stored, api::Job& next) {
    if (next.status == stored.status) return ok();
    Result<Ref<api::Job>> written = client_.update_status(next);
    if (!written.ok() && written.error().code() == Code::NotFound) return ok();
    TRY(written);
    written_.wrote(key_of(stored), client::revision_of(written.value()->metadata));
    return ok();
  }

  // ---- pods

  Status manage(const api::Job& job, const JobProgress& progress) {
    int change = wanted_change(job, progress);
    if (change > 0 && (job.spec.backoffLimitPerIndex || !backoff_end(progress, wall_now())))
      return create_pods(job, progress, change);
    for (int i = 0; i < -change; ++i) {
      // The youngest have the least to lose.
      const Ref<api::Pod>& pod = progress.active[progress.active.size() - 1 - static_cast<size_t>(i)];
      TRY(remove(job, *pod, job.spec.suspend.value_or(false)));
    }
    return ok();
  }

  Status create_pods(const api::Job& job, const JobProgress& progress, int count) {
    bool indexed = job.spec.completionMode == "Indexed";
    std::vector<int> indexes;
    if (indexed) indexes = free_indexes(job, progress, count, wall_now());
    if (indexed) count = static_cast<int>(indexes.size());
    std::atomic<size_t> turn = 0;
    SlowStart created = slow_start(count, [&]() -> Status {
      api::Pod pod = pod_from(job.spec.template_, job);
      pod.metadata.finalizers.emplace_back(kJobTracking);
      if (indexed) {
        const int index = indexes[turn.fetch_add(1)];
        give_index(pod, job, index);
        if (job.spec.backoffLimitPerIndex) note_failures(pod, progress, index);
      }
      Result<Ref<api::Pod>> made = client_.create(std::move(pod));
      if (!made.ok()) {
        if (!is_namespace_going(made.error()))
          events_.warning(reference(job), "FailedCreate", "Error creating: " + made.error().message());
        return std::move(made).error();
      }
      pods_written_.wrote(key_of(job), client::revision_of(made.value()->metadata));
      events_.normal(reference(job), "SuccessfulCreate", "Created pod: " + made.value()->metadata.name);
      return ok();
    });
    if (created.error && !is_namespace_going(*created.error)) return *created.error;
    return ok();
  }

  Status remove(const api::Job& job, const api::Pod& pod, bool uncounted) {
    if (uncounted) TRY(untrack(job, pod));
    Result<AnyRef> removed = client_.remove<api::Pod>(key_of(pod), {.uid = pod.metadata.uid});
    if (!removed.ok() && removed.error().code() == Code::NotFound) return ok();
    TRY(removed);
    if (removed.value()) pods_written_.wrote(key_of(job), client::revision_of(removed.value().metadata()));
    events_.normal(reference(job), "SuccessfulDelete", "Deleted pod: " + pod.metadata.name);
    return ok();
  }

  Status untrack(const api::Job& job, const api::Pod& pod) {
    TRY_ASSIGN(std::int64_t revision, free(pod));
    if (revision > 0) pods_written_.wrote(key_of(job), revision);
    return ok();
  }

  // Takes the finalizer off; the revision that was written, or 0 when there was nothing to do.
  Result<std::int64_t> free(const api::Pod& pod) {
    if (!is_tracked(pod)) return std::int64_t{0};
    auto written = client_.update_with_retry<api::Pod>(key_of(pod), [&](api::Pod& next) {
      return next.metadata.uid == pod.metadata.uid && std::erase(next.metadata.finalizers, kJobTracking) > 0;
    });
    if (!written.ok() && written.error().code() == Code::NotFound) return std::int64_t{0};
    TRY(written);
    return client::revision_of(written.value()->metadata);
  }

  // ---- time

  std::optional<Duration> wake_up(const api::Job& job, const JobProgress& progress) {
    std::optional<WallTime> due;
    if (!job.spec.backoffLimitPerIndex) due = backoff_end(progress, wall_now());
    for (const auto& [index, failures] : progress.index_failures)
      if (WallTime retry = retry_time(failures); retry > clock_.wall_now()) due = due ? std::min(*due, retry) : retry;
    if (job.spec.activeDeadlineSeconds && job.status.startTime) {
      WallTime end = job.status.startTime.wall() + std::chrono::seconds(*job.spec.activeDeadlineSeconds);
      due = due ? std::min(*due, end) : end;
    }
    if (!due) return std::nullopt;
    return std::max<Duration>(*due - clock_.wall_now(), 1ms);
  }

  Result<Requeue> after_end(const api::Job& job, const JobPods& pods) {
    for (const Ref<api::Pod>& pod : pods) TRY(untrack(job, *pod));
    if (!job.spec.ttlSecondsAfterFinished || job.metadata.deletionTimestamp) return Requeue::never();
    api::Time ended;
    for (const char* type : {"Complete", "Failed"})
      if (const api::JobCondition* condition = find_condition(job.status, type))
        ended = condition->lastTransitionTime;
    WallTime due = ended.wall() + std::chrono::seconds(*job.spec.ttlSecondsAfterFinished);
    if (due > clock_.wall_now()) return Requeue::in(std::max<Duration>(due - clock_.wall_now(), 1ms));
    Result<AnyRef> removed =
        client_.remove<api::Job>(key_of(job), {.propagation = "Foreground", .uid = job.metadata.uid});
    if (!removed.ok() && removed.error().code() != Code::NotFound) return std::move(removed).error();
    return Requeue::never();
  }

  static api::ObjectReference reference(const api::Job& job) {
    return client::reference_to(Ref<api::Job>(std::make_shared<api::Job>(job)));
  }

  client::Informer<api::Job> jobs_;
  client::Informer<api::Pod> pods_;
  client::Fence pods_written_, written_;
  client::EventRecorder events_;
};

}  // namespace

std::unique_ptr<Controller> jobs(const Context& context) { return std::make_unique<Jobs>(context); }

}  // namespace skiff::controllers
