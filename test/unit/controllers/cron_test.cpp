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
