// HorizontalPodAutoscaler: asks for the replicas that keep metrics at their targets (pkg/controller/podautoscaler).
// Looks every 15 seconds, as nobody announces that a number has changed.

#include "api/gen/pod.hpp"
#include "client/event_recorder.hpp"
#include "controllers/autoscale_plan.hpp"
#include "controllers/kinds.hpp"
#include "controllers/scaling_metrics.hpp"

namespace skiff::controllers {
namespace {

using api::HorizontalPodAutoscaler;

constexpr Duration kPeriod = 15s;

api::MetricSpec default_metric() {
  api::MetricSpec metric;
  metric.type = "Resource";
  metric.resource.emplace().name = "cpu";
  metric.resource->target.type = "Utilization";
  metric.resource->target.averageUtilization = 80;
  return metric;
}

// What a look at the metrics came to.
struct Computed {
  std::int32_t replicas = 0;
  std::string metric;
  std::vector<api::MetricStatus> statuses;
};

class Autoscalers final : public Controller {
 public:
  Autoscalers(const Context& context, CustomMetrics* custom)
      : Controller(context, "horizontal-pod-autoscaler-controller", 2),
        custom_(custom),
        scalers_(context.informers.of<HorizontalPodAutoscaler>()),
        pods_(context.informers.of<api::Pod>()),
        events_(context.client, context.clock, context.random, "horizontal-pod-autoscaler") {
    scalers_.on_change([this](const Ref<HorizontalPodAutoscaler>& before, const Ref<HorizontalPodAutoscaler>& now) {
      // Its own status is no news.
      if (!now || !before || !(before->spec == now->spec)) queue().add(key_of(now ? *now : *before));
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    Ref<HorizontalPodAutoscaler> scaler = scalers_.get(key);
    if (!scaler) {
      MutexLock lock(mutex_);
      histories_.erase(key);
      selectors_.erase(key);
      return Requeue::never();
    }
    if (scaler->metadata.deletionTimestamp) return Requeue::never();
    HorizontalPodAutoscaler next = *scaler;
    Status scaled = scale(*scaler, next);
    TRY(write_status(*scaler, next));
    // What failed was told; the next look is in time.
    static_cast<void>(scaled.ok());
    return Requeue::in(kPeriod);
  }

 private:
  void set(HorizontalPodAutoscaler& next, api::HorizontalPodAutoscalerCondition condition) {
    condition.lastTransitionTime = wall_now();
    for (auto& known : next.status.conditions) {
      if (known.type != condition.type) continue;
      if (known.status == condition.status) condition.lastTransitionTime = known.lastTransitionTime;
      known = std::move(condition);
      return;
    }
    next.status.conditions.push_back(std::move(condition));
  }
  void set(HorizontalPodAutoscaler& next, const char* type, bool status, std::string reason, std::string message) {
    set(next, scaler_condition(type, status, std::move(reason), std::move(message)));
  }
  void warn(const HorizontalPodAutoscaler& scaler, const std::string& reason, const std::string& message) {
    events_.warning(reference(scaler), reason, message);
  }
  static api::ObjectReference reference(const HorizontalPodAutoscaler& scaler) {
    return client::reference_to(std::make_shared<const HorizontalPodAutoscaler>(scaler));
  }

  // ---- the scaled object

  Result<Ref<api::Scale>> scale_of(const HorizontalPodAutoscaler& scaler, const std::string& change) {
    const api::CrossVersionObjectReference& target = scaler.spec.scaleTargetRef;
    const api::KindInfo* kind = client_.find_kind(target.apiVersion.empty() ? "v1" : target.apiVersion, target.kind);
    if (!kind) return error(Code::NotFound, "no matches for kind \"{}\" in group \"{}\"", target.kind,
                            target.apiVersion.substr(0, target.apiVersion.find('/')));
    TRY_ASSIGN(AnyRef scale, client_.patch(*kind, {scaler.metadata.namespace_, target.name}, client::PatchType::Merge, change, "scale"));
    Ref<api::Scale> typed = scale.as<api::Scale>();
    if (!typed) return error(Code::Invalid, "{} has no scale", target.kind);
    return typed;
  }

  Status scale(const HorizontalPodAutoscaler& scaler, HorizontalPodAutoscaler& next) {
    Result<Ref<api::Scale>> scale = scale_of(scaler, "{}");
    if (!scale.ok()) {
      warn(scaler, "FailedGetScale", scale.error().message());
      set(next, "AbleToScale", false, "FailedGetScale",
          "the HPA controller was unable to get the target's current scale: " + scale.error().message());
      return std::move(scale).error();
    }
    set(next, "AbleToScale", true, "SucceededGetScale", "the HPA controller was able to get the target's current scale");
    next.status.observedGeneration = scaler.metadata.generation;
    next.status.currentReplicas = scale.value()->status.replicas;
    const std::int32_t current = scale.value()->spec.replicas;
    std::int32_t desired = current;
    std::string reason;
    TRY(decide(scaler, *scale.value(), next, desired, reason));
    next.status.desiredReplicas = desired;
    return desired == current ? ok() : rescale(scaler, next, current, reason);
  }

  Status decide(const HorizontalPodAutoscaler& scaler, const api::Scale& scale, HorizontalPodAutoscaler& next,
                std::int32_t& desired, std::string& reason) {
    const std::int32_t current = scale.spec.replicas, least = scaler.spec.minReplicas.value_or(1);
    if (current == 0 && least != 0) {
      set(next, "ScalingActive", false, "ScalingDisabled", "scaling is disabled since the replica count of the target is zero");
      return ok();
    }
    if (current > scaler.spec.maxReplicas) {
      reason = "Current number of replicas above Spec.MaxReplicas";
      desired = scaler.spec.maxReplicas;
      return ok();
    }
    if (current < least) {
      reason = "Current number of replicas below Spec.MinReplicas";
      desired = least;
      return ok();
    }
    Result<Computed> computed = compute(scaler, scale, next);
    if (!computed.ok()) {
      next.status.desiredReplicas = current;
      warn(scaler, "FailedComputeMetricsReplicas", computed.error().message());
      return std::move(computed).error();
    }
    next.status.currentMetrics = std::move(computed.value().statuses);
    if (computed.value().replicas > current) reason = computed.value().metric + " above target";
    if (computed.value().replicas < current) reason = "All metrics below target";
    MutexLock lock(mutex_);
    Normalised normalised = normalise(scaler, current, computed.value().replicas, histories_[key_of(scaler)], clock_.now());
    set(next, std::move(normalised.able));
    set(next, std::move(normalised.limited));
    desired = normalised.replicas;
    return ok();
  }

  Status rescale(const HorizontalPodAutoscaler& scaler, HorizontalPodAutoscaler& next, std::int32_t current,
                 const std::string& reason) {
    const std::int32_t desired = next.status.desiredReplicas;
    Result<Ref<api::Scale>> written = scale_of(scaler, fmt::format(R"({{"spec":{{"replicas":{}}}}})", desired));
    if (!written.ok()) {
      warn(scaler, "FailedRescale", fmt::format("New size: {}; reason: {}; error: {}", desired, reason, written.error().message()));
      set(next, "AbleToScale", false, "FailedUpdateScale",
          "the HPA controller was unable to update the target scale: " + written.error().message());
      next.status.desiredReplicas = current;
      return std::move(written).error();
    }
    set(next, "AbleToScale", true, "SucceededRescale",
        fmt::format("the HPA controller was able to update the target scale to {}", desired));
    events_.normal(reference(scaler), "SuccessfulRescale", fmt::format("New size: {}; reason: {}", desired, reason));
    next.status.lastScaleTime = wall_now();
    MutexLock lock(mutex_);
    note_scaling(histories_[key_of(scaler)], current, desired, clock_.now());
    return ok();
  }

  // ---- metrics

  Status check_selector(const HorizontalPodAutoscaler& scaler, const std::string& selector, HorizontalPodAutoscaler& next) {
    if (!selector.empty()) return ok();
    warn(scaler, "SelectorRequired", "selector is required");
    set(next, "ScalingActive", false, "InvalidSelector", "the HPA target's scale is missing a selector");
    return Error(Code::Invalid, "selector is required");
  }

  // Autoscalers that scale the same pods would fight: none of them does anything.
  Status check_rivals(const ObjectKey& key, const api::Selector& selector, const ScaledPods& pods, HorizontalPodAutoscaler& next) {
    std::set<ObjectKey> scaling = {key};
    {
      MutexLock lock(mutex_);
      selectors_.insert_or_assign(key, selector);
      for (const auto& [other, theirs] : selectors_)
        if (other.namespace_ == key.namespace_ && std::any_of(pods.begin(), pods.end(), [&theirs = theirs](const auto& pod) {
              return theirs.matches(pod->metadata.labels);
            }))
          scaling.insert(other);
    }
    if (scaling.size() < 2) return ok();
    std::string names;
    for (const ObjectKey& one : scaling) names += fmt::format("{}{{{} {}}}", names.empty() ? "" : " ", one.name, one.namespace_);
    std::string message = fmt::format("pods by selector {} are controlled by multiple HPAs: [{}]", selector.text(), names);
    warn(next, "AmbiguousSelector", message);
    set(next, "ScalingActive", false, "AmbiguousSelector", message);
    return Error(Code::Invalid, std::move(message));
  }

  Result<Computed> compute(const HorizontalPodAutoscaler& scaler, const api::Scale& scale, HorizontalPodAutoscaler& next) {
    TRY(check_selector(scaler, scale.status.selector, next));
    TRY_ASSIGN(api::Selector selector, api::Selector::parse(scale.status.selector));
    ScaledPods pods;
    for (const Ref<api::Pod>& pod : pods_.list(scaler.metadata.namespace_))
      if (selector.matches(pod->metadata.labels)) pods.push_back(pod);
    TRY(check_rivals(key_of(scaler), selector, pods, next));
    const ScalingQuestion question{scaler, scale.spec.replicas, scale.status.replicas, selector, pods, wall_now()};
    std::vector<api::MetricSpec> metrics = scaler.spec.metrics;
    if (metrics.empty()) metrics.push_back(default_metric());
    Computed computed;
    size_t failed = 0;
    struct Failure {
      std::string reason, message, whole;
    };
    std::optional<Failure> first;
    for (const api::MetricSpec& metric : metrics) {
      Result<MetricAnswer> answer = ask_metric(client_, custom_, question, metric);
      if (!answer.ok()) {
        ++failed;
        warn(scaler, failure_reason(metric), answer.error().message());
        const std::string& message = answer.error().message();
        if (!first) first = {failure_reason(metric), message, whole_failure(metric, message)};
        continue;
      }
      computed.statuses.push_back(std::move(answer.value().status));
      if (!computed.metric.empty() && answer.value().replicas <= computed.replicas) continue;
      computed.replicas = answer.value().replicas;
      computed.metric = std::move(answer.value().name);
    }
    // With a number missing it may still grow, but not shrink: the missing one could ask for more.
    if (first && (failed >= metrics.size() || computed.replicas < scale.spec.replicas)) {
      set(next, "ScalingActive", false, first->reason, "the HPA was unable to compute the replica count: " + first->message);
      return error(Code::Invalid, "invalid metrics ({} invalid out of {}), first error is: {}", failed, metrics.size(),
                   first->whole);
    }
    set(next, "ScalingActive", true, "ValidMetricFound",
        "the HPA was able to successfully calculate a replica count from " + computed.metric);
    return computed;
  }

  Status write_status(const HorizontalPodAutoscaler& scaler, HorizontalPodAutoscaler& next) {
    if (next.status == scaler.status) return ok();
    auto written = client_.update_with_retry<HorizontalPodAutoscaler>(
        key_of(scaler),
        [&](HorizontalPodAutoscaler& live) {
          if (live.metadata.uid != scaler.metadata.uid || live.status == next.status) return false;
          live.status = next.status;
          return true;
        },
        true);
    return written.ok() || written.error().code() == Code::NotFound ? ok() : Status(written.error());
  }

  CustomMetrics* custom_;
  client::Informer<HorizontalPodAutoscaler> scalers_;
  client::Informer<api::Pod> pods_;
  client::EventRecorder events_;
  Mutex mutex_;
  std::map<ObjectKey, ScaleHistory> histories_ GUARDED_BY(mutex_);
  std::map<ObjectKey, api::Selector> selectors_ GUARDED_BY(mutex_);  // of the pods that each scales
};

}  // namespace

std::unique_ptr<Controller> autoscalers(const Context& context, CustomMetrics* custom) {
  return std::make_unique<Autoscalers>(context, custom);
}

}  // namespace skiff::controllers
