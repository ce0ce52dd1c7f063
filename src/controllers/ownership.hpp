#pragma once
// Who owns what: the keys of controllers from their objects, and adoption and release by selector
// (k8s.io/kubernetes/pkg/controller/controller_ref_manager.go).

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "api/gen/pod.hpp"
#include "api/selector.hpp"
#include "api/status.hpp"
#include "client/client.hpp"
#include "client/informer.hpp"

namespace skiff::controllers {

/// The informer index of objects that no controller owns, by namespace.
inline constexpr char kOrphans[] = "orphans";

template <class T>
void index_orphans(client::Informer<T> informer) {
  informer.add_index(kOrphans, [](const T& object) {
    return client::controller_of(object.metadata) ? std::vector<std::string>{}
                                                  : std::vector<std::string>{object.metadata.namespace_};
  });
}

/// The key of `object`'s controller if that is an Owner, whatever its version.
template <class Owner>
std::optional<client::ObjectKey> owner_key(const api::ObjectMeta& object) {
  const api::OwnerReference* owner = client::controller_of(object);
  const api::KindInfo& kind = api::kind_of<Owner>();
  if (!owner || owner->kind != kind.kind || owner->apiVersion != kind.api_version()) return std::nullopt;
  return client::ObjectKey{object.namespace_, owner->name};
}

/// A pod as `pod_template` describes it, named after and controlled by `owner`.
template <class Owner>
api::Pod pod_from(const api::PodTemplateSpec& pod_template, const Owner& owner) {
  api::Pod pod;
  pod.metadata.generateName = owner.metadata.name + "-";
  pod.metadata.namespace_ = owner.metadata.namespace_;
  pod.metadata.labels = pod_template.metadata.labels;
  pod.metadata.annotations = pod_template.metadata.annotations;
  pod.metadata.finalizers = pod_template.metadata.finalizers;
  pod.metadata.ownerReferences = {client::controller_ref(owner)};
  pod.spec = pod_template.spec;
  return pod;
}

/// Whether a creation failed because its namespace is being deleted: nothing will help, and nobody needs to
/// know.
inline bool is_namespace_going(const Error& error) {
  const api::StatusDetail* detail = api::detail_of(error);
  return detail && std::any_of(detail->causes.begin(), detail->causes.end(),
                               [](const auto& cause) { return cause.reason == "NamespaceTerminating"; });
}

template <class T>
Result<client::Ref<T>> release(client::Client& client, const client::Ref<T>& object,
                               const std::string& owner_uid) {
  return client.update_with_retry<T>(client::key_of(*object), [&](T& next) {
    return next.metadata.uid == object->metadata.uid &&
           std::erase_if(next.metadata.ownerReferences,
                         [&](const api::OwnerReference& one) { return one.uid == owner_uid; }) > 0;
  });
}

template <class T, class Owner>
Result<client::Ref<T>> adopt(client::Client& client, const client::Ref<T>& object, const Owner& owner) {
  return client.update_with_retry<T>(client::key_of(*object), [&](T& next) {
    if (next.metadata.uid != object->metadata.uid || client::controller_of(next.metadata)) return false;
    next.metadata.ownerReferences.push_back(client::controller_ref(owner));
    return true;
  });
}

/// What `owner` controls after it took the orphans that `selector` matches and let go of what it does not
/// match any more. Needs index_orphans() on the informer.
template <class T, class Owner>
Result<std::vector<client::Ref<T>>> claim(client::Client& client, const client::Informer<T>& informer,
                                          const Owner& owner, const api::Selector& selector) {
  const bool going = static_cast<bool>(owner.metadata.deletionTimestamp);
  std::vector<client::Ref<T>> claimed;
  for (const client::Ref<T>& object : informer.owned_by(owner.metadata.uid)) {
    if (selector.matches(object->metadata.labels)) {
      claimed.push_back(object);
    } else if (!going) {
      Result<client::Ref<T>> released = release(client, object, owner.metadata.uid);
      if (!released.ok() && released.error().code() != Code::NotFound) return std::move(released).error();
    }
  }
  if (going) return claimed;
  bool owner_is_live = false;
  for (const client::Ref<T>& orphan : informer.by_index(kOrphans, owner.metadata.namespace_)) {
    if (orphan->metadata.deletionTimestamp || !selector.matches(orphan->metadata.labels)) continue;
    if (!owner_is_live) {  // the cache may lag: a deleted owner must not adopt
      TRY_ASSIGN(client::Ref<Owner> live, client.get<Owner>(client::key_of(owner)));
      if (live->metadata.uid != owner.metadata.uid || live->metadata.deletionTimestamp) return claimed;
      owner_is_live = true;
    }
    Result<client::Ref<T>> adopted = adopt(client, orphan, owner);
    if (!adopted.ok() && adopted.error().code() == Code::NotFound) continue;
    TRY(adopted);
    const api::OwnerReference* controller = client::controller_of(adopted.value()->metadata);
    if (controller && controller->uid == owner.metadata.uid) claimed.push_back(adopted.value());
  }
  return claimed;
}

}  // namespace skiff::controllers
