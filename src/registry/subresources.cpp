// Subresources that exchange another kind than their parent's: scale, binding, eviction, token.

#include <nlohmann/json.hpp>

#include "api/defaults.hpp"
#include "api/gen/apps.hpp"
#include "api/gen/authentication.hpp"
#include "api/gen/autoscaling.hpp"
#include "api/gen/core.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/policy.hpp"
#include "api/json.hpp"
#include "api/patch.hpp"
#include "registry/custom_strategy.hpp"
#include "registry/admission.hpp"
#include "registry/eviction.hpp"
#include "registry/registry.hpp"
#include "registry/token_requests.hpp"
#include "registry/write.hpp"

namespace skiff::registry {
namespace {

using client::Ref;

// ---- scale

template <class T>
api::Scale scale_from(const T& object, std::string selector) {
  api::Scale scale;
  scale.metadata.name = object.metadata.name;
  scale.metadata.namespace_ = object.metadata.namespace_;
  scale.metadata.uid = object.metadata.uid;
  scale.metadata.resourceVersion = object.metadata.resourceVersion;
  scale.metadata.creationTimestamp = object.metadata.creationTimestamp;
  scale.spec.replicas = object.spec.replicas.value_or(0);
  scale.status.replicas = object.status.replicas;
  scale.status.selector = std::move(selector);
  return scale;
}

template <class T>
std::string selector_text(const T& object) {
  Result<api::Selector> selector = api::Selector::from(object.spec.selector);
  return selector.ok() ? selector.value().text() : "";
}
std::string selector_text(const api::ReplicationController& controller) {
  return api::Selector::from(controller.spec.selector).text();
}

// Applies `visit` to the object as its own type, if that has a scale.
template <class Visit>
bool visit_scalable(const api::KindInfo& kind, Visit visit) {
  if (&kind == &api::kind_of<api::Deployment>()) visit.template operator()<api::Deployment>();
  else if (&kind == &api::kind_of<api::ReplicaSet>()) visit.template operator()<api::ReplicaSet>();
  else if (&kind == &api::kind_of<api::StatefulSet>()) visit.template operator()<api::StatefulSet>();
  else if (&kind == &api::kind_of<api::ReplicationController>()) visit.template operator()<api::ReplicationController>();
  else return false;
  return true;
}

Error no_scale(const Resource& resource) {
  return error(Code::NotFound, "the server could not find the requested resource ({}/scale)", resource.kind->plural);
}

}  // namespace

AnyRef scale_of(const Resource& resource, const AnyRef& object) {
  AnyRef scale;
  if (resource.kind->type->open) {
    Result<AnyRef> custom = custom_scale(*resource.kind, object);
    return custom.ok() ? custom.value() : scale;
  }
  visit_scalable(*resource.kind, [&]<class T>() {
    const T& typed = *static_cast<const T*>(object.get());
    scale = AnyRef(Ref<api::Scale>(std::make_shared<api::Scale>(scale_from(typed, selector_text(typed)))));
  });
  return scale;
}

Status set_replicas(const Resource& resource, Draft& object, std::int32_t replicas) {
  if (resource.kind->type->open)
    return set_custom_replicas(*resource.kind, *static_cast<api::CustomObject*>(object.value.get()), replicas);
  bool scalable = visit_scalable(*resource.kind, [&]<class T>() {
    static_cast<T*>(object.value.get())->spec.replicas = replicas;
  });
  return scalable ? ok() : Status(no_scale(resource));
}

Result<AnyRef> Registry::get_scale(const Resource& resource, const ObjectKey& key) const {
  TRY_ASSIGN(Object object, get(resource, key));
  if (resource.kind->type->open) return custom_scale(*resource.kind, object.any());
  AnyRef scale = scale_of(resource, object.any());
  if (!scale) return no_scale(resource);
  return scale;
}

Result<AnyRef> Registry::update_scale(const Resource& resource, const ObjectKey& key, const Draft& draft,
                                      RequestContext& context) {
  const api::Scale& scale = *static_cast<const api::Scale*>(draft.value.get());
  if (!scale.metadata.name.empty() && scale.metadata.name != key.name)
    return api::bad_request(fmt::format("the name of the object ({}) does not match the name on the URL ({})",
                                        scale.metadata.name, key.name));
  if (scale.spec.replicas < 0) {
    api::FieldErrors errors;
    errors.invalid("spec.replicas", std::to_string(scale.spec.replicas), "must be greater than or equal to 0");
    return api::invalid(api::kind_of<api::Scale>(), key.name, errors);
  }
  TRY_ASSIGN(Object updated, mutate(resource, key, "scale", context, [&](Draft& next, const AnyRef& current) -> Status {
    const std::string& wanted = scale.metadata.resourceVersion;
    if (!wanted.empty() && wanted != current.metadata().resourceVersion)
      return api::stale_update(*resource.kind, key.name);
    return set_replicas(resource, next, scale.spec.replicas);
  }));
  if (resource.kind->type->open) return custom_scale(*resource.kind, updated.any());
  return scale_of(resource, updated.any());
}

Result<AnyRef> Registry::patch_scale(const Resource& resource, const ObjectKey& key, client::PatchType type,
                                     std::string_view body, RequestContext& context) {
  TRY_ASSIGN(nlohmann::json patch, api::parse_json(body));
  for (int attempt = 0;; ++attempt) {
    TRY_ASSIGN(AnyRef scale, get_scale(resource, key));
    TRY_ASSIGN(nlohmann::json document, api::parse_json(api::encode_json(*scale.kind().type, scale.get())));
    Result<nlohmann::json> patched =
        type == client::PatchType::Json
            ? api::apply_json_patch(std::move(document), patch)
            : Result<nlohmann::json>(api::apply_merge_patch(std::move(document), patch));
    TRY(patched.ok() ? ok() : Status(patched.error()));
    TRY_ASSIGN(Draft draft, decode(scale.kind(), patched.value().dump(), context));
    Result<AnyRef> updated = update_scale(resource, key, draft, context);
    if (updated.ok() || updated.error().code() != Code::Conflict || attempt == kMaxAttempts) return updated;
  }
}

namespace {

api::MetaStatus success(int code) {
  api::MetaStatus status;
  status.status = "Success";
  status.code = code;
  return status;
}

AnyRef shared_status(int code) { return AnyRef(Ref<api::MetaStatus>(std::make_shared<api::MetaStatus>(success(code)))); }

// ---- pods/binding: how the scheduler places a pod (BindingREST)

Result<AnyRef> bind(Registry& registry, const Resource& pods, const ObjectKey& key, const api::Binding& binding,
                    RequestContext& context, WallTime now) {
  if (binding.target.name.empty()) return api::bad_request("target.name: Required value");
  TRY(registry.mutate(pods, key, "binding", context, [&](Draft& next, const AnyRef& current) -> Status {
    auto& pod = *static_cast<api::Pod*>(next.value.get());
    if (!binding.metadata.uid.empty() && binding.metadata.uid != current.metadata().uid)
      return api::uid_conflict(*pods.kind, key.name, binding.metadata.uid, current.metadata().uid);
    if (pod.metadata.deletionTimestamp)
      return api::conflict(*pods.kind, key.name, fmt::format("pod {} is being deleted, cannot be assigned to a host", key.name));
    if (!pod.spec.nodeName.empty())
      return api::conflict(*pods.kind, key.name, fmt::format("pod {} is already assigned to node \"{}\"", key.name, pod.spec.nodeName));
    if (!pod.spec.schedulingGates.empty())
      return api::conflict(*pods.kind, key.name, fmt::format("pod {} has non-empty .spec.schedulingGates", key.name));
    pod.spec.nodeName = binding.target.name;
    for (const auto& [name, value] : binding.metadata.annotations) pod.metadata.annotations[name] = value;
    auto& conditions = pod.status.conditions;
    std::erase_if(conditions, [](const api::PodCondition& one) { return one.type == "PodScheduled"; });
    api::PodCondition& scheduled = conditions.emplace_back();
    scheduled.type = "PodScheduled";
    scheduled.status = "True";
    scheduled.lastTransitionTime = api::Time::from(now);
    scheduled.observedGeneration = pod.metadata.generation;
    return ok();
  }));
  return shared_status(201);
}

}  // namespace

Result<AnyRef> Registry::create_subresource(const Resource& resource, const ObjectKey& key,
                                            const std::string& subresource, Draft draft, RequestContext& context) {
  StrategyContext strategy = strategy_context(context);
  Attributes attributes{Operation::Create, resource, subresource, key, &draft, {}, strategy};
  TRY(admission_->admit(attributes));
  const void* body = draft.value.get();
  if (draft.kind == &api::kind_of<api::Binding>() && subresource == "binding")
    return bind(*this, resource, key, *static_cast<const api::Binding*>(body), context, clock_.wall_now());
  if (draft.kind == &api::kind_of<api::Eviction>() && subresource == "eviction") {
    TRY(evict(*this, resource, key, *static_cast<const api::Eviction*>(body), context, clock_.wall_now()));
    return shared_status(201);
  }
  if (draft.kind == &api::kind_of<api::TokenRequest>() && subresource == "token")
    return issue_token(*this, resource, key, std::move(draft), token_signer_);
  return error(Code::NotFound, "the server could not find the requested resource ({}/{})", resource.kind->plural,
               subresource);
}

}  // namespace skiff::registry
