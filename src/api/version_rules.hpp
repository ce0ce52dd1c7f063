#pragma once
// The conversions that versions.cpp lists, and the small language they are written in. Documents come from clients:
// anything may be absent or of the wrong type, and is then left for decoding to complain about.

#include <nlohmann/json.hpp>

#include <initializer_list>

#include "base/error.hpp"

namespace skiff::api {

using Path = std::initializer_list<const char*>;

/// The value at `path` below `object`; null when there is none.
nlohmann::json* find_at(nlohmann::json& object, Path path);
/// The same for an object; null when anything else stands there.
inline nlohmann::json* object_at(nlohmann::json& object, Path path) {
  nlohmann::json* found = find_at(object, path);
  return found != nullptr && found->is_object() ? found : nullptr;
}
/// Sets the value at `path` unless one is there, making the objects on the way.
void fill_at(nlohmann::json& object, Path path, nlohmann::json value);
/// Takes member `name` out of `object`; null when it has none.
nlohmann::json take(nlohmann::json& object, const char* name);
void rename(nlohmann::json& object, const char* from, const char* to);
/// Calls `visit` on every element of the list (or object's value) at `path` that is an object.
template <class Visit>
void each_at(nlohmann::json& object, Path path, Visit visit) {
  nlohmann::json* list = find_at(object, path);
  if (list == nullptr || !list->is_array()) return;
  for (nlohmann::json& item : *list)
    if (item.is_object()) visit(item);
}

// apps and batch
Status deployment_from_extensions(nlohmann::json& object);
Status deployment_from_beta1(nlohmann::json& object);
Status daemon_set_from_extensions(nlohmann::json& object);
Status stateful_set_from_beta1(nlohmann::json& object);
Status selector_from_labels(nlohmann::json& object);
Status cron_job_from_alpha(nlohmann::json& object);
Status job_from_extensions(nlohmann::json& object);
// networking and discovery
Status ingress_from_beta(nlohmann::json& object);
void ingress_to_beta(nlohmann::json& object);
Status ingress_class_from_beta(nlohmann::json& object);
Status endpoint_slice_from_beta(nlohmann::json& object);
void endpoint_slice_to_beta(nlohmann::json& object);
// autoscaling
Status autoscaler_from_v1(nlohmann::json& object);
void autoscaler_to_v1(nlohmann::json& object);
Status autoscaler_from_v2beta1(nlohmann::json& object);
void autoscaler_to_v2beta1(nlohmann::json& object);
Status autoscaler_from_extensions(nlohmann::json& object);
void autoscaler_to_extensions(nlohmann::json& object);
// events
Status event_from_events(nlohmann::json& object);
void event_to_events(nlohmann::json& object);
// policies, access, extension points
Status budget_from_beta(nlohmann::json& object);
void budget_to_beta(nlohmann::json& object);
Status binding_from_alpha(nlohmann::json& object);
void binding_to_alpha(nlohmann::json& object);
Status access_review_from_beta(nlohmann::json& object);
void access_review_to_beta(nlohmann::json& object);
Status priority_level_from_beta(nlohmann::json& object);
void priority_level_to_beta(nlohmann::json& object);
Status runtime_class_from_alpha(nlohmann::json& object);
void runtime_class_to_alpha(nlohmann::json& object);
Status webhooks_from_beta(nlohmann::json& object);
Status signing_request_from_beta(nlohmann::json& object);
Status policy_binding_from_alpha(nlohmann::json& object);
Status definition_from_beta(nlohmann::json& object);
void definition_to_beta(nlohmann::json& object);

}  // namespace skiff::api
