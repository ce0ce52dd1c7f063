// CronJobs and their schedules; disruption budgets.

#include "api/gen/batch.hpp"
#include "api/gen/policy.hpp"
#include "controllers/cron_schedule.hpp"
#include "support.hpp"

using namespace skiff;
using test::ControlledCluster;

namespace {

api::Time at(const char* text) { return api::Time::parse(text).value(); }

}  // namespace

TEST_CASE("schedules say when") {
  struct Row {
    const char *schedule, *after, *next;
  };
  auto row = GENERATE(Row{"* * * * *", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z"},
                      Row{"*/15 * * * *", "2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"},
                      Row{"5 4 * * sun", "2026-01-01T00:00:00Z", "2026-01-04T04:05:00Z"},
                      Row{"0 0 1 jan *", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
                      Row{"0 0 13 * 5", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"},
                      Row{"0 22-23/1,3 * * *", "2026-01-01T03:00:00Z", "2026-01-01T22:00:00Z"},
                      Row{"@daily", "2026-02-28T12:00:00Z", "2026-03-01T00:00:00Z"},
                      Row{"@every 1h30m", "2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z"},
                      Row{"0 0 30 2 *", "2026-01-01T00:00:00Z", ""});
  DYNAMIC_SECTION(row.schedule) {
    auto next = controllers::CronSchedule::parse(row.schedule).value().next(at(row.after));
    CHECK((next ? next->text() : "") == row.next);
  }
}

TEST_CASE("schedules follow the clocks of their zone") {
  struct Row {
    const char *name, *zone, *schedule, *after, *next;
  };
  const auto rows = {
      Row{"winter", "Europe/Berlin", "0 9 * * *", "2026-01-01T00:00:00Z", "2026-01-01T08:00:00Z"},
      Row{"summer", "Europe/Berlin", "0 9 * * *", "2026-07-01T00:00:00Z", "2026-07-01T07:00:00Z"},
      Row{"another day here and there", "Pacific/Auckland", "0 1 1 * *", "2026-06-15T00:00:00Z", "2026-06-30T13:00:00Z"},
      Row{"an hour that is leapt over", "Europe/Berlin", "30 2 29 3 *", "2026-03-28T00:00:00Z", "2027-03-29T00:30:00Z"},
      Row{"the hour after the leap", "Europe/Berlin", "0 3 29 3 *", "2026-03-28T00:00:00Z", "2026-03-29T01:00:00Z"},
      Row{"an hour that comes twice, first", "Europe/Berlin", "30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"},
      Row{"and second", "Europe/Berlin", "30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"},
      Row{"half hours", "Asia/Kolkata", "0 0 * * *", "2026-01-01T00:00:00Z", "2026-01-01T18:30:00Z"}};
  for (const Row& row : rows) DYNAMIC_SECTION(row.name) {
    auto schedule = controllers::CronSchedule::parse(row.schedule, TimeZone::named(row.zone).value()).value();
    auto next = schedule.next(at(row.after));
    REQUIRE(next);
    CHECK(next->text() == row.next);
    CHECK(schedule.latest(at(row.after), *next) == next);
  }
  CHECK(TimeZone::named("Mars/Olympus").error().message() == "unknown time zone Mars/Olympus");
  CHECK_FALSE(TimeZone::named("../../etc/passwd").ok());
}

TEST_CASE("the last missed time is found") {
  auto hourly = controllers::CronSchedule::parse("0 * * * *").value();
  CHECK(hourly.latest(at("2026-01-01T00:10:00Z"), at("2026-01-03T07:59:00Z"))->text() ==
        "2026-01-03T07:00:00Z");
  CHECK_FALSE(hourly.latest(at("2026-01-01T00:10:00Z"), at("2026-01-01T00:59:00Z")));
  auto yearly = controllers::CronSchedule::parse("@yearly").value();
  CHECK(yearly.latest(at("2024-06-01T00:00:00Z"), at("2026-05-01T00:00:00Z"))->text() ==
        "2026-01-01T00:00:00Z");
}

TEST_CASE("bad schedules are refused") {
  for (const char* text : {"", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "a * * * *", "*/0 * * * *",
                           "5-1 * * * *", "* * * * 7", "@every x", "@never"})
    CHECK_FALSE(controllers::CronSchedule::parse(text).ok());
}

TEST_CASE("a cron job starts a job each time and keeps no more than its history") {
  ControlledCluster<test::FakeClock> cluster;
  cluster.create<api::CronJob>(
      R"({"metadata":{"name":"c"},"spec":{"schedule":"* * * * *","jobTemplate":{"spec":{
      "template":{"metadata":{"labels":{"kubelet":"none"}},"spec":{"restartPolicy":"Never",
      "containers":[{"name":"c","image":"a"}]}}}}}})");
  cluster.clock.wait_for_waiters(1);
  cluster.clock.advance(61s);
  REQUIRE(cluster.wait_for([&] { return cluster.list<api::Job>().size() == 1; }));
  auto job = cluster.list<api::Job>()[0];
  CHECK(job->metadata.name == "c-" + std::to_string(at("2026-01-01T00:01:00Z").unix_seconds() / 60));
  CHECK(job->metadata.annotations.at("batch.kubernetes.io/cronjob-scheduled-timestamp") ==
        "2026-01-01T00:01:00Z");
  REQUIRE(cluster.wait_for([&] { return cluster.get<api::CronJob>("c")->status.active.size() == 1; }));
  CHECK(cluster.get<api::CronJob>("c")->status.lastScheduleTime == at("2026-01-01T00:01:00Z"));
  CHECK(cluster.wait_for(
      [&] { return cluster.has_event("SuccessfulCreate", "Created job " + job->metadata.name); }));
}

namespace {

std::string cron(const std::string& spec) {
  return R"({"metadata":{"name":"c"},"spec":{)" + spec + R"("jobTemplate":{"spec":{
      "template":{"metadata":{"labels":{"kubelet":"none"}},"spec":{"restartPolicy":"Never",
      "containers":[{"name":"c","image":"a"}]}}}}}})";
}

using Crons = ControlledCluster<test::FakeClock>;

// Moves on, as timers may be set only after the clock moved, until `condition` holds.
bool passes_until(Crons& cluster, Duration step, const std::function<bool()>& condition) {
  for (int i = 0; i < 100; ++i) {
    if (cluster.wait_for(condition, 50ms)) return true;
    cluster.clock.advance(step);
  }
  return false;
}

}  // namespace

TEST_CASE("what a cron job does while its last job still runs") {
  Crons cluster;
  SECTION("Allow: both") {
    cluster.create<api::CronJob>(cron(R"("schedule":"*/5 * * * *",)"));
    CHECK(passes_until(cluster, 1min, [&] { return cluster.get<api::CronJob>("c")->status.active.size() >= 2; }));
    CHECK(cluster.list<api::Job>().size() >= 2);
  }
  SECTION("Forbid: not another") {
    cluster.create<api::CronJob>(cron(R"("schedule":"*/5 * * * *","concurrencyPolicy":"Forbid",)"));
    CHECK(passes_until(cluster, 1min, [&] {
      return cluster.has_event("JobAlreadyActive",
                               "Not starting job because prior execution is running and concurrency policy is Forbid");
    }));
    CHECK(cluster.list<api::Job>().size() == 1);
  }
  SECTION("Replace: the new one instead") {
    cluster.create<api::CronJob>(cron(R"("schedule":"*/5 * * * *","concurrencyPolicy":"Replace",)"));
    REQUIRE(passes_until(cluster, 1min, [&] { return cluster.list<api::Job>().size() == 1; }));
    const std::string first = cluster.list<api::Job>()[0]->metadata.name;
    CHECK(passes_until(cluster, 1min, [&] { return cluster.has_event("SuccessfulDelete", "Deleted job " + first); }));
    CHECK(passes_until(cluster, 1s, [&] {
      auto jobs = cluster.list<api::Job>();
      auto active = cluster.get<api::CronJob>("c")->status.active;
      return jobs.size() == 1 && jobs[0]->metadata.name != first && active.size() == 1 &&
             active[0].name == jobs[0]->metadata.name;
    }));
  }
  SECTION("suspend: none at all") {
    cluster.create<api::CronJob>(cron(R"("schedule":"*/5 * * * *","suspend":true,)"));
    for (int i = 0; i < 10; ++i) cluster.clock.advance(1min);
    CHECK_FALSE(cluster.wait_for([&] { return !cluster.list<api::Job>().empty(); }, 200ms));
  }
}

TEST_CASE("jobs that a cron job finds") {
  Crons cluster;
  auto job_of = [&](const std::string& name) {
    return R"({"metadata":{"name":")" + name + R"(","ownerReferences":[{"apiVersion":"batch/v1","kind":"CronJob","name":"c","uid":")" +
           cluster.get<api::CronJob>("c")->metadata.uid + R"(","controller":true}]},"spec":{"template":{"metadata":{"labels":
           {"kubelet":"none"}},"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"a"}]}}}})";
  };
  cluster.create<api::CronJob>(cron(R"("schedule":"*/5 * * * *","concurrencyPolicy":"Forbid",)"));
  auto active = [&] { return cluster.get<api::CronJob>("c")->status.active; };
  SECTION("that somebody started by hand do not count") {
    cluster.create<api::Job>(job_of("by-hand"));
    REQUIRE(cluster.wait_for([&] {
      return cluster.has_event("UnexpectedJob", "Saw a job that the controller did not create or forgot: by-hand");
    }));
    CHECK(passes_until(cluster, 1min, [&] { return active().size() == 1 && active()[0].name != "by-hand"; }));
  }
  SECTION("that it made itself a moment before it was killed do") {
    const std::string name = "c-" + std::to_string(at("2026-01-01T00:05:00Z").unix_seconds() / 60);
    cluster.create<api::Job>(job_of(name));
    cluster.clock.advance(5min + 1s);  // and from here on slowly: the next time must not come before this one was seen
    CHECK(passes_until(cluster, 1s, [&] { return active().size() == 1 && active()[0].name == name; }));
    CHECK(cluster.get<api::CronJob>("c")->status.lastScheduleTime == at("2026-01-01T00:05:00Z"));
    CHECK(cluster.list<api::Job>().size() == 1);
  }
}

TEST_CASE("a cron job in a zone, and one whose times went by unseen") {
  Crons cluster;
  SECTION("local time is in the annotation") {
    cluster.create<api::CronJob>(cron(R"("schedule":"30 5 * * *","timeZone":"Asia/Kolkata",)"));
    cluster.clock.advance(24h + 1s);
    REQUIRE(passes_until(cluster, 1s, [&] { return cluster.list<api::Job>().size() == 1; }));
    CHECK(cluster.list<api::Job>()[0]->metadata.annotations.at("batch.kubernetes.io/cronjob-scheduled-timestamp") ==
          "2026-01-02T05:30:00+05:30");
  }
  SECTION("more than a hundred are told") {
    cluster.clock.advance(1s);
    cluster.create<api::CronJob>(cron(R"("schedule":"* * * * *","suspend":true,)"));
    cluster.clock.advance(3h);
    REQUIRE(cluster.client.update_with_retry<api::CronJob>({"default", "c"}, [](api::CronJob& next) {
      next.spec.suspend = false;
      return true;
    }).ok());
    CHECK(cluster.wait_for([&] {
      return cluster.has_event("TooManyMissedTimes", "too many missed start times. Set or decrease "
                                                     ".spec.startingDeadlineSeconds or check clock skew");
    }));
    CHECK(cluster.wait_for([&] { return cluster.list<api::Job>().size() == 1; }));
  }
}

TEST_CASE("a budget counts what may go") {
  ControlledCluster<> cluster;
  cluster.create<api::PodDisruptionBudget>(
      R"({"metadata":{"name":"b"},"spec":{"minAvailable":"50%","selector":{"matchLabels":{"app":"x"}}}})");
  cluster.create<api::ReplicaSet>(
      R"({"metadata":{"name":"x"},"spec":{"replicas":4,"selector":{"matchLabels":{"app":"x"}},"template":{"metadata":
      {"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"a"}]}}}})");
  auto status = [&] { return cluster.get<api::PodDisruptionBudget>("b")->status; };
  REQUIRE(cluster.wait_for([&] { return status().currentHealthy == 4; }));
  CHECK(status().expectedPods == 4);
  CHECK(status().desiredHealthy == 2);
  CHECK(status().disruptionsAllowed == 2);
  CHECK(status().conditions.at(0).reason == "SufficientPods");
}

TEST_CASE("a budget that cannot be counted lets nothing go, and says why") {
  ControlledCluster<> cluster;
  cluster.create<api::PodDisruptionBudget>(
      R"({"metadata":{"name":"b"},"spec":{"maxUnavailable":1,"selector":{"matchLabels":{"app":"x"}}}})");
  CHECK(cluster.wait_for([&] { return cluster.has_event("NoPods", "No matching pods found"); }));
  auto status = [&] { return cluster.get<api::PodDisruptionBudget>("b")->status; };
  SECTION("pods of an owner without a scale") {
    cluster.create<api::Job>(R"({"metadata":{"name":"j"},"spec":{"template":{"metadata":{"labels":{"app":"x"}},"spec":{
      "restartPolicy":"Never","containers":[{"name":"c","image":"a"}]}}}})");
    CHECK(cluster.wait_for([&] {
      auto conditions = status().conditions;
      return conditions.size() == 1 && conditions[0].reason == "SyncFailed" && conditions[0].status == "False" &&
             conditions[0].message == "jobs.batch does not implement the scale subresource";
    }));
    CHECK(status().disruptionsAllowed == 0);
    CHECK(cluster.wait_for([&] {
      return cluster.has_event("CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: jobs.batch "
                                                                  "does not implement the scale subresource");
    }));
  }
  SECTION("pods without an owner have no share in what is expected") {
    cluster.create<api::Pod>(R"({"metadata":{"name":"p","labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"a"}]}})");
    CHECK(cluster.wait_for([&] { return status().currentHealthy == 1; }));
    CHECK(status().expectedPods == 0);
    CHECK(status().disruptionsAllowed == 0);
    CHECK(cluster.wait_for([&] {
      return cluster.has_event("UnmanagedPods",
                               "Pods selected by this PodDisruptionBudget (selector: &LabelSelector{MatchLabels:map[string]string{"
                               "app: x,},MatchExpressions:[]LabelSelectorRequirement{},}) were found to be unmanaged. As a result, "
                               "the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To "
                               "account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.");
    }));
  }
}
