// Namespaces, nodes, ConfigMaps, Secrets.

#include "api/gen/core.hpp"

#include <set>

#include "api/gen/nodes.hpp"
#include "api/names.hpp"
#include "registry/kinds/field_checks.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"

namespace skiff::registry {
namespace {

// ---- namespaces

Status prepare_namespace(api::Namespace& object, StrategyContext&) {
  object.status.phase = "Active";
  object.spec.finalizers = {"kubernetes"};
  object.metadata.labels["kubernetes.io/metadata.name"] = object.metadata.name;
  return ok();
}

Status update_namespace(api::Namespace& next, const api::Namespace& old, StrategyContext&) {
  next.spec.finalizers = old.spec.finalizers;  // only the finalize subresource removes them
  next.metadata.labels["kubernetes.io/metadata.name"] = next.metadata.name;
  return ok();
}

void terminate_namespace(api::Namespace& object) { object.status.phase = "Terminating"; }
bool namespace_is_held(const api::Namespace& object) { return !object.spec.finalizers.empty(); }

std::map<std::string, std::string> namespace_fields(const api::Namespace& object) {
  return {{"status.phase", object.status.phase}, {"name", object.metadata.name}};
}

// ---- nodes

std::map<std::string, std::string> node_fields(const api::Node& node) {
  return {{"spec.unschedulable", node.spec.unschedulable ? "true" : "false"}};
}

void check_taints(const std::vector<api::Taint>& taints, api::FieldErrors& errors) {
  const Path spec("spec");
  std::set<std::pair<std::string_view, std::string_view>> seen;
  for (size_t i = 0; i < taints.size(); ++i) {
    const api::Taint& taint = taints[i];
    const Path at = spec.child("taints", i);
    check_qualified_name(taint.key, at.child("key"), errors);
    add_problems(at.child("value"), taint.value, api::label_value_problems(taint.value), errors);
    require_one_of(taint.effect, at.child("effect"), {"NoSchedule", "PreferNoSchedule", "NoExecute"}, errors);
    if (!seen.insert({taint.key, taint.effect}).second)
      errors.duplicate(at, fmt::format("taints must be unique by key and effect pair: {}={}:{}", taint.key, taint.value,
                                       taint.effect));
  }
}

void validate_node(const api::Node& node, const api::Node* old, api::FieldErrors& errors) {
  const Path spec("spec");
  check_taints(node.spec.taints, errors);
  for (size_t i = 0; i < node.spec.podCIDRs.size(); ++i)
    check_cidr(node.spec.podCIDRs[i], spec.child("podCIDRs", i), errors);
  if (!old) return;
  if (!old->spec.podCIDRs.empty() && node.spec.podCIDRs != old->spec.podCIDRs)
    errors.forbidden(spec.child("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid");
  if (!old->spec.providerID.empty() && node.spec.providerID != old->spec.providerID)
    errors.forbidden(spec.child("providerID"), "node updates may not change providerID except from \"\" to valid");
}

// ---- ConfigMaps and Secrets

constexpr size_t kMaxDataBytes = 1024 * 1024;

template <class T>
void validate_immutable(const T& object, const T* old, bool same_data, api::FieldErrors& errors) {
  if (!old || !old->immutable.value_or(false)) return;
  if (!object.immutable.value_or(false))
    errors.forbidden("immutable", "field is immutable when `immutable` is set");
  if (!same_data) errors.forbidden("data", "field is immutable when `immutable` is set");
}

void validate_config_map(const api::ConfigMap& map, const api::ConfigMap* old, api::FieldErrors& errors) {
  size_t total = 0;
  auto check = [&](const std::string& key, size_t bytes, const char* field) {
    for (const std::string& problem : api::config_map_key_problems(key))
      errors.invalid(fmt::format("{}[{}]", field, key), api::quote(key), problem);
    total += bytes;
  };
  for (const auto& [key, value] : map.data) {
    check(key, value.size(), "data");
    if (map.binaryData.contains(key)) errors.invalid(fmt::format("data[{}]", key), api::quote(key), "duplicate of key present in binaryData");
  }
  for (const auto& [key, value] : map.binaryData) check(key, value.data.size(), "binaryData");
  if (total > kMaxDataBytes) errors.too_long("[]", kMaxDataBytes);
  validate_immutable(map, old, old && map.data == old->data && map.binaryData == old->binaryData, errors);
}

Status merge_string_data(api::Secret& secret, StrategyContext&) {
  for (auto& [key, value] : secret.stringData) secret.data[key].data = value;
  secret.stringData.clear();
  return ok();
}

Status merge_string_data_on_update(api::Secret& next, const api::Secret&, StrategyContext& context) {
  return merge_string_data(next, context);
}

void require_key(const api::Secret& secret, const char* key, api::FieldErrors& errors) {
  if (!secret.data.contains(key)) errors.required(fmt::format("data[{}]", key));
}

void validate_secret(const api::Secret& secret, const api::Secret* old, api::FieldErrors& errors) {
  size_t total = 0;
  for (const auto& [key, value] : secret.data) {
    for (const std::string& problem : api::config_map_key_problems(key))
      errors.invalid(fmt::format("data[{}]", key), api::quote(key), problem);
    total += value.data.size();
  }
  if (total > kMaxDataBytes) errors.too_long("data", kMaxDataBytes);
  if (secret.type == "kubernetes.io/dockerconfigjson") require_key(secret, ".dockerconfigjson", errors);
  if (secret.type == "kubernetes.io/dockercfg") require_key(secret, ".dockercfg", errors);
  constexpr char kAccount[] = "kubernetes.io/service-account.name";
  if (secret.type == "kubernetes.io/service-account-token" && !secret.metadata.annotations.contains(kAccount))
    errors.required(fmt::format("metadata.annotations[{}]", kAccount));
  if (secret.type == "kubernetes.io/tls") {
    require_key(secret, "tls.crt", errors);
    require_key(secret, "tls.key", errors);
  }
  if (old && secret.type != old->type) errors.invalid("type", api::quote(secret.type), "field is immutable");
  validate_immutable(secret, old, old && secret.data == old->data, errors);
}

std::map<std::string, std::string> secret_fields(const api::Secret& secret) { return {{"type", secret.type}}; }

}  // namespace

Resource namespaces() {
  Rules<api::Namespace> rules;
  rules.prepare_create = prepare_namespace;
  rules.prepare_update = update_namespace;
  rules.begin_deletion = terminate_namespace;
  rules.held = namespace_is_held;
  rules.selectable_fields = namespace_fields;
  rules.name_problems = [](std::string_view name) { return api::dns1123_label_problems(name); };
  return define(rules);
}

Resource nodes() {
  Rules<api::Node> rules;
  rules.validate = validate_node;
  rules.selectable_fields = node_fields;
  Resource resource = define(rules);
  resource.strategy.reset_status = nullptr;  // a kubelet registers with its status
  return resource;
}

Resource config_maps() {
  Rules<api::ConfigMap> rules;
  rules.validate = validate_config_map;
  return define(rules);
}

Resource secrets() {
  Rules<api::Secret> rules;
  rules.prepare_create = merge_string_data;
  rules.prepare_update = merge_string_data_on_update;
  rules.validate = validate_secret;
  rules.selectable_fields = secret_fields;
  return define(rules);
}

}  // namespace skiff::registry
