// HorizontalPodAutoscalers: how many replicas, how fast, and in which words.

#include "support.hpp"

#include "api/gen/autoscaling.hpp"
#include "api/gen/metrics.hpp"
#include "controllers/autoscale_plan.hpp"
#include "registry/usage_source.hpp"

using namespace skiff;
using namespace skiff::controllers;
using api::HorizontalPodAutoscaler;

namespace {

const api::Time kNow = api::Time::parse("2026-01-01T01:00:00Z").value();

// A pod of an hour ago with a request of 100m unless it says otherwise.
client::Ref<api::Pod> pod(const std::string& name, const std::string& ready = "True", const std::string& phase = "Running",
                          const std::string& started = "2026-01-01T00:00:00Z", const std::string& changed = "2026-01-01T00:01:00Z") {
  return std::make_shared<api::Pod>(api::from_json<api::Pod>(
      R"({"metadata":{"name":")" + name + R"("},"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"100m"}}}]},
      "status":{"phase":")" + phase + R"(","startTime":")" + started + R"(","conditions":[{"type":"Ready","status":")" + ready +
      R"(","lastTransitionTime":")" + changed + R"("}]}})").value());
}

struct Row {
  const char* name;
  std::vector<client::Ref<api::Pod>> pods;
  std::map<std::string, int> milli;
  int percent;
  int want;
};

}  // namespace

TEST_CASE("replicas for a CPU target") {
  const auto rows = std::vector<Row>{
      {"twice the target doubles", {pod("a"), pod("b")}, {{"a", 100}, {"b", 100}}, 50, 4},
      {"half the target halves", {pod("a"), pod("b")}, {{"a", 20}, {"b", 30}}, 50, 1},
      {"a tenth off is left alone", {pod("a"), pod("b")}, {{"a", 54}, {"b", 54}}, 50, 2},
      {"rounded up", {pod("a"), pod("b")}, {{"a", 60}, {"b", 60}}, 50, 3},
      {"on the way up a pod of which nothing is known uses nothing", {pod("a"), pod("b")}, {{"a", 120}}, 50, 3},
      {"on the way down it uses all it asked for", {pod("a"), pod("b"), pod("c")}, {{"a", 10}, {"b", 10}}, 80, 2},
      {"a pod that starts does not count on the way up", {pod("a"), pod("b", "False", "Running", "2026-01-01T00:59:00Z")},
       {{"a", 100}, {"b", 400}}, 50, 2},
      {"nor one that has been ready for a moment only",
       {pod("a"), pod("b", "True", "Running", "2026-01-01T00:59:00Z", "2026-01-01T00:59:50Z")}, {{"a", 100}, {"b", 400}}, 50, 2},
      {"a pending one neither", {pod("a"), pod("b", "False", "Pending")}, {{"a", 100}}, 50, 2},
      {"one that failed is ignored", {pod("a"), pod("b", "False", "Failed")}, {{"a", 100}, {"b", 900}}, 50, 2}};
  for (const Row& row : rows) DYNAMIC_SECTION(row.name) {
    UsageQuestion question{.current = static_cast<std::int32_t>(row.pods.size()), .pods = row.pods, .usages = {}, .resource = "cpu"};
    for (const auto& [name, milli] : row.milli) question.usages[name] = {milli, kNow, 15s};
    question.requests = requests_of(row.pods, "cpu", "").value();
    question.target_percent = row.percent;
    question.now = kNow;
    Result<Proposal> proposal = replicas_for_usage(question);
    REQUIRE(proposal.ok());
    CHECK(proposal.value().replicas == row.want);
  }
}

TEST_CASE("what cannot be computed says why") {
  std::vector<client::Ref<api::Pod>> pods = {pod("a")};
  CHECK(requests_of(pods, "memory", "").error().message() == "missing request for memory in container c of Pod a");
  UsageQuestion question{.current = 1, .pods = pods, .usages = {}, .resource = "cpu"};
  question.target_milli = 100;
  CHECK(replicas_for_usage(question).error().message() ==
        "did not receive metrics for targeted pods (pods might be unready)");
}

TEST_CASE("recommendations are held to limits, windows and rates") {
  HorizontalPodAutoscaler scaler;
  scaler.spec.minReplicas = 2;
  scaler.spec.maxReplicas = 20;
  ScaleHistory history;
  TimePoint now{1000s};
  auto look = [&](int current, int desired) { return normalise(scaler, current, desired, history, now); };

  SECTION("without behavior: twice or four up, the highest of five minutes down") {
    CHECK(look(1, 10).replicas == 4);
    CHECK(look(3, 10).limited.reason == "ScaleUpLimit");
    CHECK(look(3, 10).replicas == 6);
    CHECK(look(15, 30).replicas == 20);
    CHECK(look(15, 30).limited.reason == "TooManyReplicas");
    history = {};
    CHECK(look(10, 10).limited.reason == "DesiredWithinRange");
    now += 60s;
    Normalised held = look(10, 3);
    CHECK(held.replicas == 10);
    CHECK(held.able.reason == "ScaleDownStabilized");
    CHECK(held.able.message == "recent recommendations were higher than current one, applying the highest recent recommendation");
    now += 301s;
    CHECK(look(10, 1).replicas == 2);
    CHECK(look(10, 1).limited.reason == "TooFewReplicas");
  }
  SECTION("policies limit what a period may add and remove") {
    auto& up = scaler.spec.behavior.emplace().scaleUp.emplace();
    up.policies.resize(1);
    up.policies[0] = {"Pods", 2, 60};
    auto& down = scaler.spec.behavior->scaleDown.emplace();
    down.stabilizationWindowSeconds = 0;
    down.policies.resize(1);
    down.policies[0] = {"Percent", 50, 60};
    CHECK(look(4, 10).replicas == 6);
    note_scaling(history, 4, 6, now);
    now += 15s;
    CHECK(look(6, 10).replicas == 6);  // spent
    CHECK(look(6, 10).limited.reason == "ScaleUpLimit");
    now += 60s;
    CHECK(look(6, 10).replicas == 8);
    history = {};
    CHECK(look(10, 1).replicas == 5);
    CHECK(look(10, 1).limited.message == "the desired replica count is decreasing faster than the maximum scale rate");
    down.selectPolicy = "Disabled";
    CHECK(look(10, 1).replicas == 10);
  }
  SECTION("a window on the way up applies the lowest") {
    scaler.spec.behavior.emplace().scaleUp.emplace().stabilizationWindowSeconds = 120;
    CHECK(look(4, 4).replicas == 4);
    now += 60s;
    Normalised held = look(4, 8);
    CHECK(held.replicas == 4);
    CHECK(held.able.reason == "ScaleUpStabilized");
    now += 121s;
    CHECK(look(4, 8).replicas == 8);
  }
  SECTION("tolerance by direction") {
    scaler.spec.behavior.emplace().scaleUp.emplace().tolerance = api::Quantity::parse("0").value();
    Tolerance tolerance = tolerance_of(scaler);
    CHECK_FALSE(tolerance.within(1.05));
    CHECK(tolerance.within(0.95));
  }
}

TEST_CASE("an autoscaler scales a Deployment by measured CPU and says so") {
  test::ControlledCluster<> cluster;
  std::atomic<int> milli = 160;
  registry::UsageSource source;
  source.nodes = [] { return std::vector<api::NodeMetrics>(); };
  source.pods = [&] {
    std::vector<api::PodMetrics> all;
    for (const auto& one : cluster.list<api::Pod>()) {
      api::PodMetrics metrics;
      metrics.metadata.name = one->metadata.name;
      metrics.metadata.namespace_ = one->metadata.namespace_;
      metrics.metadata.labels = one->metadata.labels;
      metrics.timestamp = api::Time::from(cluster.clock.wall_now());
      metrics.window = "15s";
      api::ContainerMetrics& container = metrics.containers.emplace_back();
      container.name = "c";
      container.usage["cpu"] = api::Quantity::of_milli(milli);
      all.push_back(std::move(metrics));
    }
    return all;
  };
  cluster.registry.set_usage_source(std::move(source));
  cluster.create<api::Deployment>(R"({"metadata":{"name":"d"},"spec":{"replicas":2,"selector":{"matchLabels":{"a":"b"}},
    "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i",
      "resources":{"requests":{"cpu":"100m"}}}]}}}})");
  REQUIRE(cluster.wait_for([&] { return cluster.get<api::Deployment>("d")->status.readyReplicas == 2; }));
  // Pods of an age at which they are believed.
  for (const auto& one : cluster.list<api::Pod>())
    REQUIRE(cluster.client.update_with_retry<api::Pod>(client::key_of(*one), [](api::Pod& next) {
      next.status.startTime = api::Time::parse("2020-01-01T00:00:00Z").value();
      return true;
    }, true).ok());
  // What the autoscaler sees at its first look decides: the next is 15 seconds of a clock that stands.
  REQUIRE(cluster.wait_for([&] {
    auto seen = cluster.informers.of<api::Pod>().list();
    return seen.size() == 2 && std::ranges::all_of(seen, [](const auto& one) {
             return one->status.startTime.text() == "2020-01-01T00:00:00Z";
           });
  }));
  auto scaler_json = [](const std::string& name, const std::string& target, const std::string& metric) {
    return R"({"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":")" + name +
           R"("},"spec":{"maxReplicas":5,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":")" + target +
           R"("},"metrics":[)" + metric + "]}}";
  };
  const std::string cpu = R"({"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":80}}})";
  cluster.create<HorizontalPodAutoscaler>(scaler_json("h", "d", cpu));
  REQUIRE(cluster.wait_for([&] { return cluster.get<api::Deployment>("d")->spec.replicas == 4; }));
  CHECK(cluster.wait_for([&] {
    return cluster.has_event("SuccessfulRescale", "New size: 4; reason: cpu resource utilization (percentage of request) above target");
  }));
  auto condition = [&](const std::string& name, const std::string& type) {
    for (const auto& one : cluster.get<HorizontalPodAutoscaler>(name)->status.conditions)
      if (one.type == type) return one.status + " " + one.reason + ": " + one.message;
    return std::string();
  };
  CHECK(cluster.wait_for([&] { return cluster.get<HorizontalPodAutoscaler>("h")->status.desiredReplicas == 4; }));
  CHECK(condition("h", "ScalingActive") ==
        "True ValidMetricFound: the HPA was able to successfully calculate a replica count from cpu resource utilization "
        "(percentage of request)");
  CHECK(condition("h", "AbleToScale") == "True SucceededRescale: the HPA controller was able to update the target scale to 4");
  CHECK(condition("h", "ScalingLimited") == "False DesiredWithinRange: the desired count is within the acceptable range");
  CHECK(cluster.get<HorizontalPodAutoscaler>("h")->status.currentMetrics.at(0).resource->current.averageUtilization == 160);

  cluster.create<HorizontalPodAutoscaler>(scaler_json("lost", "nowhere", cpu));
  CHECK(cluster.wait_for([&] {
    return condition("lost", "AbleToScale") ==
           "False FailedGetScale: the HPA controller was unable to get the target's current scale: deployments.apps \"nowhere\" "
           "not found";
  }));
  // A second one over the same pods: neither moves.
  cluster.create<HorizontalPodAutoscaler>(scaler_json("rival", "d", cpu));
  CHECK(cluster.wait_for([&] {
    return condition("rival", "ScalingActive") ==
           "False AmbiguousSelector: pods by selector a=b are controlled by multiple HPAs: [{h default} {rival default}]";
  }));
}

namespace {

using Scaled = test::ControlledCluster<test::FakeClock>;

// A Deployment of two ready pods, and an autoscaler over it with `metric`.
void scale_by(Scaled& cluster, const std::string& metric) {
  cluster.create<api::Deployment>(R"({"metadata":{"name":"d"},"spec":{"replicas":2,"selector":{"matchLabels":{"a":"b"}},
    "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})");
  REQUIRE(cluster.wait_for([&] { return cluster.get<api::Deployment>("d")->status.readyReplicas == 2; }));
  cluster.create<HorizontalPodAutoscaler>(
      R"({"metadata":{"name":"h"},"spec":{"maxReplicas":9,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"d"},
      "metrics":[)" + metric + "]}}");
}
std::string active(Scaled& cluster) {
  for (const auto& one : cluster.get<HorizontalPodAutoscaler>("h")->status.conditions)
    if (one.type == "ScalingActive") return one.status + " " + one.reason + ": " + one.message;
  return "";
}
// Looks every 15 seconds until the wish is there, or more than it.
bool comes_to(Scaled& cluster, std::int32_t replicas) {
  for (int i = 0; i < 40; ++i) {
    if (cluster.wait_for([&] { return cluster.get<api::Deployment>("d")->spec.replicas >= replicas; }, 50ms)) return true;
    cluster.clock.advance(15s);
  }
  return false;
}

}  // namespace

TEST_CASE("metrics that are not resources scale, or say what is missing") {
  Scaled cluster;
  auto says = [&](const std::string& reason, const std::string& message, const std::string& whole) {
    CHECK(cluster.wait_for([&] { return active(cluster) == "False " + reason + ": the HPA was unable to compute the replica count: " + message; }));
    CHECK(cluster.wait_for([&] { return cluster.has_event(reason, message); }));
    CHECK(cluster.wait_for([&] {
      return cluster.has_event("FailedComputeMetricsReplicas", "invalid metrics (1 invalid out of 1), first error is: " + whole);
    }));
  };
  SECTION("of pods") {
    scale_by(cluster, R"({"type":"Pods","pods":{"metric":{"name":"hits"},"target":{"type":"AverageValue","averageValue":"10"}}})");
    const std::string message = "unable to get metric hits: no metrics returned from custom metrics API";
    says("FailedGetPodsMetric", message, "failed to get pods metric value: " + message);
    for (const auto& pod : cluster.list<api::Pod>("a=b")) cluster.metrics.set(pod->metadata.name, 15'000);
    CHECK(comes_to(cluster, 3));
    CHECK(cluster.wait_for([&] { return cluster.has_event("SuccessfulRescale", "New size: 3; reason: pods metric hits above target"); }));
  }
  SECTION("of another object, by value") {
    scale_by(cluster, R"({"type":"Object","object":{"metric":{"name":"requests"},"describedObject":{"apiVersion":"networking.k8s.io/v1",
      "kind":"Ingress","name":"main"},"target":{"type":"Value","value":"100"}}})");
    const std::string message = "unable to get metric requests: Ingress on default main/no metrics returned from custom metrics API";
    says("FailedGetObjectMetric", message, "failed to get object metric value: " + message);
    cluster.metrics.set(200'000);
    CHECK(comes_to(cluster, 4));
    CHECK(cluster.wait_for([&] {
      auto all = cluster.get<HorizontalPodAutoscaler>("h")->status.currentMetrics;
      return all.size() == 1 && all[0].object && all[0].object->current.value && all[0].object->current.value->text() == "200";
    }));
  }
  SECTION("from outside, a share for each pod") {
    scale_by(cluster, R"({"type":"External","external":{"metric":{"name":"queue","selector":{"matchLabels":{"q":"1"}}},
      "target":{"type":"AverageValue","averageValue":"30"}}})");
    const std::string message = "unable to get external metric default/queue/&LabelSelector{MatchLabels:map[string]string{q: 1,},"
                                "MatchExpressions:[]LabelSelectorRequirement{},}: no metrics returned from external metrics API";
    says("FailedGetExternalMetric", message, "failed to get queue external metric value: failed to get queue external metric: " + message);
    cluster.metrics.set(110'000);
    CHECK(comes_to(cluster, 4));
    CHECK(cluster.wait_for([&] {
      return active(cluster).starts_with("True ValidMetricFound: the HPA was able to successfully calculate a replica count "
                                         "from external metric queue(&LabelSelector{");
    }));
  }
}
