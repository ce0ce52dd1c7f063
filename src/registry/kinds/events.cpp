// Events, of which core/v1 and events.k8s.io are two views (pkg/apis/core/validation/events.go).

#include <nlohmann/json.hpp>

#include "api/gen/core.hpp"
#include "api/json.hpp"
#include "registry/kinds/field_checks.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"

namespace skiff::registry {
namespace {

using api::Event;

constexpr size_t kMaxWord = 128;
constexpr size_t kMaxMessage = 1024;

std::map<std::string, std::string> event_fields(const Event& event) {
  const api::ObjectReference& about = event.involvedObject;
  return {{"involvedObject.kind", about.kind},
          {"involvedObject.namespace", about.namespace_},
          {"involvedObject.name", about.name},
          {"involvedObject.uid", about.uid},
          {"involvedObject.apiVersion", about.apiVersion},
          {"involvedObject.resourceVersion", about.resourceVersion},
          {"involvedObject.fieldPath", about.fieldPath},
          {"reason", event.reason},
          {"reportingComponent", event.reportingComponent},
          {"source", event.source.component.empty() ? event.reportingComponent : event.source.component},
          {"type", event.type}};
}

bool is_core(const StrategyContext& context) {
  const std::string& version = context.request.api_version;
  return version.empty() || version == "v1";
}

// Which rules hold is up to the version that the writer speaks: core/v1 and events.k8s.io/v1beta1 are lenient.
bool is_strict(const StrategyContext& context) {
  return !is_core(context) && context.request.api_version != "events.k8s.io/v1beta1";
}

void check_length(const std::string& text, const char* field, size_t most, FieldErrors& errors) {
  if (text.size() > most) errors.invalid(field, "\"\"", fmt::format("can have at most {} characters", most));
}

// What an event needs that tells when it happened.
void check_timed(const Event& event, const Path& controller, FieldErrors& errors) {
  require(event.reportingComponent, controller, errors);
  check_qualified_name(event.reportingComponent, controller, errors);
  require(event.reportingInstance, Path("reportingInstance"), errors);
  check_length(event.reportingInstance, "reportingInstance", kMaxWord, errors);
  require(event.action, Path("action"), errors);
  check_length(event.action, "action", kMaxWord, errors);
  require(event.reason, Path("reason"), errors);
  check_length(event.reason, "reason", kMaxWord, errors);
  check_length(event.message, "message", kMaxMessage, errors);
}

void check_event(const Event& event, const Path& controller, FieldErrors& errors) {
  const std::string& about = event.involvedObject.namespace_;
  const std::string& where = event.metadata.namespace_;
  bool timed = static_cast<bool>(event.eventTime);
  // Those about objects of the cluster stand in "default"; newer ones may stand in "kube-system".
  bool fits = about.empty() ? where == "default" || (timed && where == "kube-system") : timed || where == about;
  if (!fits) errors.invalid("involvedObject.namespace", api::quote(about), "does not match event.namespace");
  if (timed) check_timed(event, controller, errors);
}

void check_series(const Event& event, FieldErrors& errors) {
  if (!event.series) return;
  if (event.series->count < 2) errors.invalid("series.count", "\"\"", "should be at least 2");
  if (!event.series->lastObservedTime) errors.required("series.lastObservedTime", "");
}

void check_strictly(const Event& event, FieldErrors& errors) {
  constexpr char kUnset[] = "needs to be unset";
  check_series(event, errors);
  if (!event.eventTime) errors.required("eventTime", "");
  if (event.type != "Normal" && event.type != "Warning")
    errors.invalid("type", "\"\"", fmt::format("has invalid value: {}", event.type));
  if (event.firstTimestamp) errors.invalid("firstTimestamp", "\"\"", kUnset);
  if (event.lastTimestamp) errors.invalid("lastTimestamp", "\"\"", kUnset);
  if (event.count != 0) errors.invalid("count", "\"\"", kUnset);
  if (!event.source.component.empty() || !event.source.host.empty()) errors.invalid("source", "\"\"", kUnset);
}

// The fields of an event that do not change once it has been told; its series does.
constexpr const char* kFixed[] = {"involvedObject", "reason",    "message", "source", "firstTimestamp",
                                  "lastTimestamp",  "count",     "type",    "eventTime", "action",
                                  "related",        "reportingComponent", "reportingInstance"};

void check_unchanged(const Event& next, const Event& old, FieldErrors& errors) {
  bool same_series = next.series && old.series ? *next.series == *old.series : !next.series == !old.series;
  if (!same_series) check_series(next, errors);
  using nlohmann::json;
  const json now = json::parse(api::to_json(next)), before = json::parse(api::to_json(old));
  for (const char* field : kFixed) {
    json value = now.value(field, json());
    if (value == before.value(field, json())) continue;
    bool renamed = field == std::string_view("reportingComponent");
    errors.invalid(renamed ? "reportingController" : field, value.dump(), kImmutable);
  }
}

Status refused_if(const Event& event, const FieldErrors& errors) {
  return errors.empty() ? ok() : Status(api::invalid(api::kind_of<Event>(), event.metadata.name, errors));
}

Path controller_field(const StrategyContext& context) {
  return Path(is_core(context) ? "reportingComponent" : "reportingController");
}

Status prepare_create(Event& event, StrategyContext& context) {
  FieldErrors errors;
  check_event(event, controller_field(context), errors);
  if (is_strict(context)) check_strictly(event, errors);
  return refused_if(event, errors);
}

Status prepare_update(Event& next, const Event& old, StrategyContext& context) {
  FieldErrors errors;
  check_event(next, controller_field(context), errors);
  if (is_strict(context)) check_unchanged(next, old, errors);
  return refused_if(next, errors);
}

}  // namespace

Resource events() {
  Rules<Event> rules;
  rules.prepare_create = prepare_create;
  rules.prepare_update = prepare_update;
  rules.selectable_fields = event_fields;
  rules.create_on_update = true;
  return define(rules);
}

}  // namespace skiff::registry
