// Old versions of apps, batch, networking and discovery.

#include "api/version_rules.hpp"

namespace skiff::api {

using Json = nlohmann::json;

namespace {

constexpr std::int64_t kNoLimit = 2147483647;

void fill_rolling_update(Json& object, const Json& amount) {
  const Json* type = find_at(object, {"spec", "strategy", "type"});
  if (type != nullptr && *type != "RollingUpdate") return;
  fill_at(object, {"spec", "strategy", "rollingUpdate", "maxSurge"}, amount);
  fill_at(object, {"spec", "strategy", "rollingUpdate", "maxUnavailable"}, amount);
}

void drop_from_spec(Json& object, const char* name) {
  if (Json* spec = object_at(object, {"spec"})) take(*spec, name);
}

}  // namespace

// The selector was optional and followed the template, and so did the labels.
Status selector_from_labels(Json& object) {
  const Json* labels = find_at(object, {"spec", "template", "metadata", "labels"});
  if (labels == nullptr || !labels->is_object() || labels->empty()) return ok();
  const Json own = *labels;
  const Json* selector = find_at(object, {"spec", "selector"});
  if (selector == nullptr || (selector->is_object() && selector->empty()))
    object["spec"]["selector"] = {{"matchLabels", own}};
  const Json* metadata_labels = find_at(object, {"metadata", "labels"});
  if (metadata_labels == nullptr || metadata_labels->empty()) {
    if (!object.contains("metadata")) object["metadata"] = Json::object();
    if (object["metadata"].is_object()) object["metadata"]["labels"] = own;
  }
  return ok();
}

Status deployment_from_extensions(Json& object) {
  drop_from_spec(object, "rollbackTo");
  TRY(selector_from_labels(object));
  fill_at(object, {"spec", "progressDeadlineSeconds"}, kNoLimit);
  fill_at(object, {"spec", "revisionHistoryLimit"}, kNoLimit);
  fill_rolling_update(object, 1);
  return ok();
}

Status deployment_from_beta1(Json& object) {
  drop_from_spec(object, "rollbackTo");
  TRY(selector_from_labels(object));
  fill_at(object, {"spec", "revisionHistoryLimit"}, 2);
  return ok();
}

Status daemon_set_from_extensions(Json& object) {
  drop_from_spec(object, "templateGeneration");
  TRY(selector_from_labels(object));
  fill_at(object, {"spec", "updateStrategy", "type"}, "OnDelete");
  return ok();
}

Status stateful_set_from_beta1(Json& object) {
  TRY(selector_from_labels(object));
  fill_at(object, {"spec", "updateStrategy", "type"}, "OnDelete");
  return ok();
}

Status cron_job_from_alpha(Json& object) {
  fill_at(object, {"spec", "successfulJobsHistoryLimit"}, kNoLimit);
  fill_at(object, {"spec", "failedJobsHistoryLimit"}, kNoLimit);
  return ok();
}

Status job_from_extensions(Json& object) {
  Json* spec = find_at(object, {"spec"});
  if (spec == nullptr) return ok();
  const Json automatic = take(*spec, "autoSelector");
  if (automatic.is_boolean() && !automatic.get<bool>()) fill_at(*spec, {"manualSelector"}, true);
  return ok();
}

// ---- Ingress

namespace {

void backend_from_beta(Json& backend) {
  Json name = take(backend, "serviceName");
  Json port = take(backend, "servicePort");
  if (name.is_null() && port.is_null()) return;
  Json& service = backend["service"] = Json::object();
  if (!name.is_null()) service["name"] = std::move(name);
  if (port.is_number()) service["port"]["number"] = std::move(port);
  if (port.is_string()) service["port"]["name"] = std::move(port);
}

void backend_to_beta(Json& backend) {
  Json service = take(backend, "service");
  if (!service.is_object()) return;
  if (service.contains("name")) backend["serviceName"] = service["name"];
  const Json port = service.value("port", Json::object());
  if (port.contains("number")) backend["servicePort"] = port["number"];
  if (port.contains("name")) backend["servicePort"] = port["name"];
}

template <class Visit>
void each_path(Json& ingress, Visit visit) {
  each_at(ingress, {"spec", "rules"}, [&](Json& rule) { each_at(rule, {"http", "paths"}, visit); });
}

}  // namespace

Status ingress_from_beta(Json& object) {
  if (Json* backend = object_at(object, {"spec", "backend"})) {
    backend_from_beta(*backend);
    rename(object["spec"], "backend", "defaultBackend");
  }
  each_path(object, [](Json& path) {
    fill_at(path, {"pathType"}, "ImplementationSpecific");
    if (Json* backend = object_at(path, {"backend"}))
      backend_from_beta(*backend);
  });
  return ok();
}

void ingress_to_beta(Json& object) {
  if (Json* backend = object_at(object, {"spec", "defaultBackend"})) {
    backend_to_beta(*backend);
    rename(object["spec"], "defaultBackend", "backend");
  }
  each_path(object, [](Json& path) {
    if (Json* backend = object_at(path, {"backend"})) backend_to_beta(*backend);
  });
}

Status ingress_class_from_beta(Json& object) {
  if (find_at(object, {"spec", "parameters"}) != nullptr) fill_at(object, {"spec", "parameters", "scope"}, "Cluster");
  return ok();
}

// ---- EndpointSlice

namespace {
constexpr char kHostname[] = "kubernetes.io/hostname";
constexpr char kZone[] = "topology.kubernetes.io/zone";
}  // namespace

Status endpoint_slice_from_beta(Json& object) {
  each_at(object, {"endpoints"}, [](Json& endpoint) {
    Json topology = take(endpoint, "topology");
    if (!topology.is_object()) return;
    Json node = take(topology, kHostname);
    Json zone = take(topology, kZone);
    if (!node.is_null()) fill_at(endpoint, {"nodeName"}, std::move(node));
    if (!zone.is_null()) fill_at(endpoint, {"zone"}, std::move(zone));
    if (!topology.empty()) endpoint["deprecatedTopology"] = std::move(topology);
  });
  return ok();
}

void endpoint_slice_to_beta(Json& object) {
  each_at(object, {"endpoints"}, [](Json& endpoint) {
    Json topology = take(endpoint, "deprecatedTopology");
    if (!topology.is_object()) topology = Json::object();
    if (const Json* node = find_at(endpoint, {"nodeName"})) topology[kHostname] = *node;
    if (Json zone = take(endpoint, "zone"); !zone.is_null()) topology[kZone] = std::move(zone);
    if (!topology.empty()) endpoint["topology"] = std::move(topology);
  });
}

}  // namespace skiff::api
