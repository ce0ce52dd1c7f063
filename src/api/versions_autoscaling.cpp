// The autoscaler of extensions/v1beta1, autoscaling/v1 and v2beta1, and the events of events.k8s.io.

#include <array>

#include "api/version_rules.hpp"

namespace skiff::api {

using Json = nlohmann::json;

namespace {

// What v1 cannot say stands in annotations, in the shape of v2beta1 (pkg/apis/autoscaling/v1/conversion.go).
constexpr char kMetrics[] = "autoscaling.alpha.kubernetes.io/metrics";
constexpr char kCurrentMetrics[] = "autoscaling.alpha.kubernetes.io/current-metrics";
constexpr char kConditions[] = "autoscaling.alpha.kubernetes.io/conditions";
constexpr char kBehavior[] = "autoscaling.alpha.kubernetes.io/behavior";

void put(Json& object, const char* name, Json value) {
  if (!value.is_null()) object[name] = std::move(value);
}

// {targetValue, targetAverageValue, ...} as {type, value, averageValue, averageUtilization}.
Json target_of(Json& flat, const char* value, const char* average, const char* utilization) {
  Json target = Json::object();
  if (Json number = take(flat, utilization); !number.is_null())
    target = {{"type", "Utilization"}, {"averageUtilization", std::move(number)}};
  if (Json number = take(flat, value); !number.is_null()) target = {{"type", "Value"}, {"value", std::move(number)}};
  if (Json number = take(flat, average); !number.is_null())
    target = {{"type", "AverageValue"}, {"averageValue", std::move(number)}};
  return target;
}

Json identifier_of(Json& flat, const char* selector) {
  Json metric = Json::object();
  put(metric, "name", take(flat, "metricName"));
  put(metric, "selector", take(flat, selector));
  return metric;
}

void flatten_identifier(Json& source, const char* selector) {
  Json metric = take(source, "metric");
  put(source, "metricName", take(metric, "name"));
  put(source, selector, take(metric, "selector"));
}

/// The names of v2beta1's flat numbers, in a metric and in its status.
struct FlatNames {
  const char *value, *average, *utilization, *object_value, *object_average, *nested;
};
constexpr FlatNames kSpecNames{"targetValue", "targetAverageValue", "targetAverageUtilization",
                               "targetValue", "averageValue",       "target"};
constexpr FlatNames kStatusNames{"currentValue", "currentAverageValue", "currentAverageUtilization",
                                 "currentValue", "averageValue",        "current"};

void nest(Json& source, const FlatNames& names, const Json& numbers) {
  Json value = numbers;
  if (std::string_view(names.nested) == "current") value.erase("type");
  source[names.nested] = std::move(value);
}

void metric_from_flat(Json& metric, const FlatNames& names) {
  for (const char* kind : {"resource", "containerResource"})
    if (Json* source = object_at(metric, {kind}))
      nest(*source, names, target_of(*source, names.value, names.average, names.utilization));
  if (Json* pods = object_at(metric, {"pods"})) {
    nest(*pods, names, target_of(*pods, names.value, names.average, names.utilization));
    (*pods)["metric"] = identifier_of(*pods, "selector");
  }
  if (Json* object = object_at(metric, {"object"})) {
    rename(*object, "target", "describedObject");
    nest(*object, names, target_of(*object, names.object_value, names.object_average, names.utilization));
    (*object)["metric"] = identifier_of(*object, "selector");
  }
  if (Json* external = object_at(metric, {"external"})) {
    nest(*external, names, target_of(*external, names.value, names.average, names.utilization));
    (*external)["metric"] = identifier_of(*external, "metricSelector");
  }
}

void flatten_numbers(Json& source, const FlatNames& names, const char* value, const char* average) {
  Json numbers = take(source, names.nested);
  put(source, names.utilization, take(numbers, "averageUtilization"));
  put(source, value, take(numbers, "value"));
  put(source, average, take(numbers, "averageValue"));
}

void metric_to_flat(Json& metric, const FlatNames& names) {
  for (const char* kind : {"resource", "containerResource"})
    if (Json* source = object_at(metric, {kind})) flatten_numbers(*source, names, names.value, names.average);
  if (Json* pods = object_at(metric, {"pods"})) {
    flatten_numbers(*pods, names, names.value, names.average);
    flatten_identifier(*pods, "selector");
  }
  if (Json* object = object_at(metric, {"object"})) {
    flatten_numbers(*object, names, names.object_value, names.object_average);
    flatten_identifier(*object, "selector");
    rename(*object, "describedObject", "target");
  }
  if (Json* external = object_at(metric, {"external"})) {
    flatten_numbers(*external, names, names.value, names.average);
    flatten_identifier(*external, "metricSelector");
  }
}

bool is_cpu_utilization(Json& metric, const char* nested) {
  const Json* name = find_at(metric, {"resource", "name"});
  return name != nullptr && *name == "cpu" && find_at(metric, {"resource", nested, "averageUtilization"}) != nullptr;
}

// Takes the first CPU utilisation out of the metrics at `path`.
Json take_cpu(Json& object, const char* where, const char* list, const char* nested) {
  Json* metrics = find_at(object, {where, list});
  if (metrics == nullptr || !metrics->is_array()) return nullptr;
  for (auto metric = metrics->begin(); metric != metrics->end(); ++metric) {
    if (!is_cpu_utilization(*metric, nested)) continue;
    Json utilization = (*metric)["resource"][nested]["averageUtilization"];
    metrics->erase(metric);
    return utilization;
  }
  return nullptr;
}

Json cpu_metric(Json utilization) {
  return {{"type", "Resource"},
          {"resource",
           {{"name", "cpu"}, {"target", {{"type", "Utilization"}, {"averageUtilization", std::move(utilization)}}}}}};
}

void annotate(Json& object, const char* name, const Json& value) {
  if (value.is_null() || value.empty()) return;
  fill_at(object, {"metadata", "annotations"}, Json::object());
  object["metadata"]["annotations"][name] = value.dump();
}

// An annotation's document, taken away; null when it is absent or not JSON.
Json take_annotation(Json& object, const char* name) {
  Json* annotations = object_at(object, {"metadata", "annotations"});
  if (annotations == nullptr) return nullptr;
  Json text = take(*annotations, name);
  if (!text.is_string()) return nullptr;
  Json document = Json::parse(text.get<std::string>(), nullptr, false);
  return document.is_discarded() ? Json() : document;
}

}  // namespace

Status autoscaler_from_v2beta1(Json& object) {
  each_at(object, {"spec", "metrics"}, [](Json& metric) { metric_from_flat(metric, kSpecNames); });
  each_at(object, {"status", "currentMetrics"}, [](Json& metric) { metric_from_flat(metric, kStatusNames); });
  return ok();
}

void autoscaler_to_v2beta1(Json& object) {
  each_at(object, {"spec", "metrics"}, [](Json& metric) { metric_to_flat(metric, kSpecNames); });
  each_at(object, {"status", "currentMetrics"}, [](Json& metric) { metric_to_flat(metric, kStatusNames); });
}

Status autoscaler_from_v1(Json& object) {
  Json* spec = object_at(object, {"spec"});
  if (spec == nullptr) return ok();
  Json metrics = take_annotation(object, kMetrics);
  if (!metrics.is_array()) metrics = Json::array();
  for (Json& metric : metrics) metric_from_flat(metric, kSpecNames);
  if (Json cpu = take(*spec, "targetCPUUtilizationPercentage"); !cpu.is_null()) metrics.push_back(cpu_metric(cpu));
  if (!metrics.empty()) (*spec)["metrics"] = std::move(metrics);
  put(*spec, "behavior", take_annotation(object, kBehavior));
  Json current = take_annotation(object, kCurrentMetrics);
  if (!current.is_array()) current = Json::array();
  for (Json& metric : current) metric_from_flat(metric, kStatusNames);
  if (Json* status = object_at(object, {"status"})) {
    if (Json cpu = take(*status, "currentCPUUtilizationPercentage"); !cpu.is_null())
      current.push_back({{"type", "Resource"},
                         {"resource", {{"name", "cpu"}, {"current", {{"averageUtilization", std::move(cpu)}}}}}});
  }
  if (!current.empty()) fill_at(object, {"status", "currentMetrics"}, std::move(current));
  if (Json conditions = take_annotation(object, kConditions); conditions.is_array())
    fill_at(object, {"status", "conditions"}, std::move(conditions));
  return ok();
}

void autoscaler_to_v1(Json& object) {
  Json cpu = take_cpu(object, "spec", "metrics", "target");
  Json current_cpu = take_cpu(object, "status", "currentMetrics", "current");
  autoscaler_to_v2beta1(object);
  if (Json* spec = object_at(object, {"spec"})) {
    annotate(object, kMetrics, take(*spec, "metrics"));
    annotate(object, kBehavior, take(*spec, "behavior"));
    put(*spec, "targetCPUUtilizationPercentage", std::move(cpu));
  }
  if (Json* status = object_at(object, {"status"})) {
    annotate(object, kCurrentMetrics, take(*status, "currentMetrics"));
    annotate(object, kConditions, take(*status, "conditions"));
    put(*status, "currentCPUUtilizationPercentage", std::move(current_cpu));
  }
}

Status autoscaler_from_extensions(Json& object) {
  if (Json* spec = object_at(object, {"spec"})) {
    rename(*spec, "scaleRef", "scaleTargetRef");
    if (Json* reference = object_at(*spec, {"scaleTargetRef"})) take(*reference, "subresource");
    Json cpu = take(*spec, "cpuUtilization");
    put(*spec, "targetCPUUtilizationPercentage", take(cpu, "targetPercentage"));
  }
  return autoscaler_from_v1(object);
}

void autoscaler_to_extensions(Json& object) {
  autoscaler_to_v1(object);
  if (Json* spec = object_at(object, {"spec"})) {
    rename(*spec, "scaleTargetRef", "scaleRef");
    fill_at(*spec, {"scaleRef", "subresource"}, "scale");
    if (Json cpu = take(*spec, "targetCPUUtilizationPercentage"); !cpu.is_null())
      (*spec)["cpuUtilization"] = {{"targetPercentage", std::move(cpu)}};
  }
}

// ---- events.k8s.io

namespace {
constexpr std::array<std::array<const char*, 2>, 7> kEventNames{{{"regarding", "involvedObject"},
                                                                 {"note", "message"},
                                                                 {"deprecatedSource", "source"},
                                                                 {"deprecatedFirstTimestamp", "firstTimestamp"},
                                                                 {"deprecatedLastTimestamp", "lastTimestamp"},
                                                                 {"deprecatedCount", "count"},
                                                                 {"reportingController", "reportingComponent"}}};
}

Status event_from_events(Json& object) {
  for (const auto& [theirs, core] : kEventNames) rename(object, theirs, core);
  return ok();
}

void event_to_events(Json& object) {
  for (const auto& [theirs, core] : kEventNames) rename(object, core, theirs);
}

}  // namespace skiff::api
