// Starts Jobs on a schedule (pkg/controller/cronjob).

#include "controllers/cron_schedule.hpp"
#include "controllers/job_plan.hpp"
#include "controllers/behind.hpp"
#include "controllers/kinds.hpp"
#include "controllers/ownership.hpp"

#include "client/event_recorder.hpp"

namespace skiff::controllers {
namespace {

using JobList = std::vector<Ref<api::Job>>;

bool succeeded(const api::Job& job) {
  const api::JobCondition* complete = find_condition(job.status, "Complete");
  return complete && complete->status == "True";
}

// RFC 3339 in the time of the zone: "2026-07-01T09:00:00+02:00".
std::string local_text(api::Time at, const TimeZone& zone) {
  const std::int64_t offset = zone.stretch_at(at.wall()).offset.count() / 60;
  std::string text = api::Time::from(at.wall() + std::chrono::minutes(offset)).text();
  if (offset == 0) return text;
  text.pop_back();  // Z
  const std::int64_t minutes = std::abs(offset);
  return text + fmt::format("{}{:02}:{:02}", offset < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

api::Job job_of(const api::CronJob& cron, api::Time scheduled, const TimeZone& zone) {
  api::Job job;
  const api::JobTemplateSpec& model = cron.spec.jobTemplate;
  job.metadata.labels = model.metadata.labels;
  job.metadata.annotations = model.metadata.annotations;
  job.metadata.annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"] = local_text(scheduled, zone);
  job.metadata.namespace_ = cron.metadata.namespace_;
  // The minute is part of the name, so that one time cannot start two jobs.
  job.metadata.name = fmt::format("{}-{}", cron.metadata.name, scheduled.unix_seconds() / 60);
  job.metadata.ownerReferences = {client::controller_ref(cron)};
  job.spec = model.spec;
  return job;
}

// More than a hundred times have passed, as the distance of the first two has it.
bool missed_many(const CronSchedule& schedule, api::Time from, api::Time now) {
  constexpr std::int64_t kMany = 100;
  std::optional<api::Time> first = schedule.next(from);
  std::optional<api::Time> second = first ? schedule.next(*first) : std::nullopt;
  if (!second || *second > now) return false;
  const std::int64_t distance = second->unix_seconds() - first->unix_seconds();
  return (now.unix_seconds() - first->unix_seconds()) / distance + 1 > kMany;
}

class CronJobs final : public Controller {
 public:
  explicit CronJobs(const Context& context)
      : Controller(context, "cronjob-controller"),
        crons_(context.informers.of<api::CronJob>()),
        jobs_(context.informers.of<api::Job>()),
        events_(context.client, context.clock, context.random, "cronjob-controller") {
    crons_.on_change([this](const Ref<api::CronJob>& before, const Ref<api::CronJob>& now) {
      queue().add(key_of(now ? *now : *before));
    });
    jobs_.on_change([this](const Ref<api::Job>& before, const Ref<api::Job>& now) {
      if (std::optional<ObjectKey> key = owner_key<api::CronJob>((now ? now : before)->metadata))
        queue().add(*key);
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    Ref<api::CronJob> cron = crons_.get(key);
    if (!cron) {
      jobs_written_.forget(key);
      written_.forget(key);
      return Requeue::never();
    }
    if (!jobs_written_.passed(key, jobs_.revision()) || !written_.passed(key, crons_.revision()))
      return behind();
    api::CronJob next = *cron;
    JobList children = jobs_.owned_by(cron->metadata.uid);
    note_finished(next, children);
    TRY(clean_up(next, children));
    Result<Requeue> scheduled = cron->metadata.deletionTimestamp || cron->spec.suspend.value_or(false)
                                    ? Requeue::never()
                                    : schedule(next, children);
    TRY(write_status(*cron, next));
    return scheduled;
  }

 private:
  void note_finished(api::CronJob& cron, const JobList& children) {
    std::vector<api::ObjectReference>& active = cron.status.active;
    for (const Ref<api::Job>& job : children) {
      auto known = std::find_if(active.begin(), active.end(),
                                [&](const auto& one) { return one.uid == job->metadata.uid; });
      if (!is_finished(*job)) {
        // Such as `kubectl create job --from` makes: they are not counted. One of ours that was forgotten because this
        // process was killed is found by its name, in start().
        if (known == active.end())
          events_.warning(reference(cron), "UnexpectedJob",
                          "Saw a job that the controller did not create or forgot: " + job->metadata.name);
        continue;
      }
      if (succeeded(*job) && job->status.completionTime > cron.status.lastSuccessfulTime)
        cron.status.lastSuccessfulTime = job->status.completionTime;
      if (known == active.end()) continue;
      active.erase(known);
      events_.normal(reference(cron), "SawCompletedJob",
                     fmt::format("Saw completed job: {}, condition: {}", job->metadata.name,
                                 succeeded(*job) ? "Complete" : "Failed"));
    }
    std::erase_if(active, [&](const api::ObjectReference& one) {
      bool there = std::any_of(children.begin(), children.end(),
                               [&](const auto& job) { return job->metadata.uid == one.uid; });
      if (!there)
        events_.normal(reference(cron), "MissingJob", fmt::format("Active job went missing: {}", one.name));
      return !there;
    });
  }

  Result<Requeue> schedule(api::CronJob& cron, const JobList& children) {
    Result<TimeZone> zone = TimeZone::named(cron.spec.timeZone);
    if (!zone.ok()) {
      events_.warning(reference(cron), "UnknownTimeZone",
                      fmt::format("invalid timeZone: \"{}\": {}", cron.spec.timeZone, zone.error().message()));
      return Requeue::never();
    }
    Result<CronSchedule> schedule = CronSchedule::parse(cron.spec.schedule, zone.value());
    if (!schedule.ok()) {
      events_.warning(
          reference(cron), "UnparseableSchedule",
          fmt::format("unparseable schedule: \"{}\" : {}", cron.spec.schedule, schedule.error().message()));
      return Requeue::never();
    }
    const api::Time now = wall_now();
    api::Time from =
        cron.status.lastScheduleTime ? cron.status.lastScheduleTime : cron.metadata.creationTimestamp;
    if (cron.spec.startingDeadlineSeconds)
      from = std::max(from,
                      api::Time::from(now.wall() - std::chrono::seconds(*cron.spec.startingDeadlineSeconds)));
    if (std::optional<api::Time> due = schedule.value().latest(from, now)) {
      if (missed_many(schedule.value(), from, now))
        events_.warning(reference(cron), "TooManyMissedTimes",
                        "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew");
      TRY(start(cron, children, {*due, zone.value()}));
    }
    std::optional<api::Time> next = schedule.value().next(std::max(now, cron.status.lastScheduleTime));
    if (!next) return Requeue::never();
    return Requeue::in(std::max<Duration>(next->wall() - clock_.wall_now(), 1ms));
  }

  struct Due {
    api::Time at;
    const TimeZone& zone;
  };
  Status start(api::CronJob& cron, const JobList& children, const Due& due) {
    const std::string& policy = cron.spec.concurrencyPolicy;
    if (policy == "Forbid" && !cron.status.active.empty()) {
      events_.normal(reference(cron), "JobAlreadyActive",
                     "Not starting job because prior execution is running and concurrency policy is Forbid");
      return ok();
    }
    if (policy == "Replace")
      for (const Ref<api::Job>& job : children)
        if (!is_finished(*job)) TRY(remove(cron, *job));
    Result<Ref<api::Job>> created = client_.create(job_of(cron, due.at, due.zone));
    if (!created.ok() && is_namespace_going(created.error())) return ok();
    if (!created.ok() && created.error().code() != Code::AlreadyExists) {
      events_.warning(reference(cron), "FailedCreate", "Error creating job: " + created.error().message());
      return std::move(created).error();
    }
    if (!created.ok()) {
      TRY(take_back(cron, job_of(cron, due.at, due.zone).metadata.name));
    } else {
      jobs_written_.wrote(key_of(cron), client::revision_of(created.value()->metadata));
      events_.normal(reference(cron), "SuccessfulCreate", "Created job " + created.value()->metadata.name);
      cron.status.active.push_back(client::reference_to(created.value()));
    }
    cron.status.lastScheduleTime = due.at;
    return ok();
  }

  // A job of that name is there already: if it is ours and runs, it counts as active.
  Status take_back(api::CronJob& cron, const std::string& name) {
    TRY_ASSIGN(Ref<api::Job> job, client_.get<api::Job>({cron.metadata.namespace_, name}));
    const api::OwnerReference* owner = client::controller_of(job->metadata);
    if (!owner || owner->uid != cron.metadata.uid || is_finished(*job)) return ok();
    cron.status.active.push_back(client::reference_to(job));
    return ok();
  }

  Status clean_up(api::CronJob& cron, const JobList& children) {
    JobList good, bad;
    for (const Ref<api::Job>& job : children)
      if (is_finished(*job) && !job->metadata.deletionTimestamp)
        (succeeded(*job) ? good : bad).push_back(job);
    TRY(remove_oldest(cron, std::move(good), cron.spec.successfulJobsHistoryLimit.value_or(3)));
    return remove_oldest(cron, std::move(bad), cron.spec.failedJobsHistoryLimit.value_or(1));
  }

  Status remove_oldest(api::CronJob& cron, JobList jobs, std::int32_t limit) {
    std::sort(jobs.begin(), jobs.end(), [](const auto& a, const auto& b) {
      return std::pair(a->status.startTime, a->metadata.name) <
             std::pair(b->status.startTime, b->metadata.name);
    });
    for (std::ptrdiff_t i = 0; i < static_cast<std::ptrdiff_t>(jobs.size()) - limit; ++i)
      TRY(remove(cron, *jobs[static_cast<size_t>(i)]));
    return ok();
  }

  Status remove(api::CronJob& cron, const api::Job& job) {
    Result<AnyRef> removed =
        client_.remove<api::Job>(key_of(job), {.propagation = "Background", .uid = job.metadata.uid});
    if (!removed.ok() && removed.error().code() == Code::NotFound) return ok();
    TRY(removed);
    std::erase_if(cron.status.active, [&](const auto& one) { return one.uid == job.metadata.uid; });
    events_.normal(reference(cron), "SuccessfulDelete", "Deleted job " + job.metadata.name);
    return ok();
  }

  Status write_status(const api::CronJob& stored, const api::CronJob& next) {
    if (next.status == stored.status) return ok();
    Result<Ref<api::CronJob>> written = client_.update_status(next);
    if (!written.ok() && written.error().code() == Code::NotFound) return ok();
    TRY(written);
    written_.wrote(key_of(stored), client::revision_of(written.value()->metadata));
    return ok();
  }

  static api::ObjectReference reference(const api::CronJob& cron) {
    return client::reference_to(Ref<api::CronJob>(std::make_shared<api::CronJob>(cron)));
  }

  client::Informer<api::CronJob> crons_;
  client::Informer<api::Job> jobs_;
  client::Fence jobs_written_, written_;
  client::EventRecorder events_;
};

}  // namespace

std::unique_ptr<Controller> cron_jobs(const Context& context) { return std::make_unique<CronJobs>(context); }

}  // namespace skiff::controllers
