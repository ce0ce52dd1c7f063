#include "registry/metadata.hpp"

#include <algorithm>

#include "api/custom_object.hpp"
#include "api/json.hpp"
#include "api/names.hpp"
#include "registry/kinds/field_checks.hpp"

namespace skiff::registry {

Status place(const Resource& resource, const std::string& namespace_, api::ObjectMeta& metadata) {
  if (!resource.kind->namespaced) {
    metadata.namespace_.clear();
    return ok();
  }
  if (metadata.namespace_.empty()) metadata.namespace_ = namespace_;
  if (metadata.namespace_ != namespace_)
    return api::bad_request("the namespace of the provided object does not match the namespace sent on the request");
  return ok();
}

void begin_life(api::ObjectMeta& metadata, WallTime now, Random& random) {
  metadata.creationTimestamp = api::Time::from(now);
  metadata.uid = random.uuid();
  metadata.deletionTimestamp = {};
  metadata.deletionGracePeriodSeconds.reset();
  metadata.selfLink.clear();
  metadata.generation = 0;
}

void keep_identity(api::ObjectMeta& next, const api::ObjectMeta& old) {
  next.name = old.name;
  next.namespace_ = old.namespace_;
  next.uid = old.uid;
  next.creationTimestamp = old.creationTimestamp;
  next.deletionTimestamp = old.deletionTimestamp;
  next.deletionGracePeriodSeconds = old.deletionGracePeriodSeconds;
  next.generation = old.generation;
  next.selfLink.clear();
  if (next.generateName.empty()) next.generateName = old.generateName;
}

namespace {

using api::quote;

// Names that only begin as told: what is generated after a dash makes them whole.
void validate_name(const Resource& resource, const api::ObjectMeta& metadata, FieldErrors& errors) {
  auto problems = [&](std::string_view name) {
    return resource.strategy.name_problems ? resource.strategy.name_problems(name)
                                           : api::dns1123_subdomain_problems(name);
  };
  const Path path("metadata");
  if (std::string base = metadata.generateName; !base.empty()) {
    if (base.size() > 1 && base.ends_with('-')) base.back() = 'a';
    add_problems(path.child("generateName"), metadata.generateName, problems(base), errors);
  }
  if (metadata.name.empty()) errors.required(path.child("name"), "name or generateName is required");
  else add_problems(path.child("name"), metadata.name, problems(metadata.name), errors);
}

void validate_owners(const api::ObjectMeta& metadata, FieldErrors& errors) {
  const api::OwnerReference* controller = nullptr;
  const Path list("metadata.ownerReferences");
  for (const api::OwnerReference& owner : metadata.ownerReferences) {
    if (owner.apiVersion.empty()) errors.invalid(list.child("apiVersion"), "\"\"", "version must not be empty");
    if (owner.kind.empty()) errors.invalid(list.child("kind"), "\"\"", "must not be empty");
    if (owner.name.empty()) errors.invalid(list.child("name"), "\"\"", "must not be empty");
    if (owner.uid.empty()) errors.invalid(list.child("uid"), "\"\"", "must not be empty");
    if (owner.apiVersion == "v1" && owner.kind == "Event")
      errors.invalid(list, api::to_json(owner), "/v1, Kind=Event is disallowed from being an owner");
    if (!owner.controller.value_or(false)) continue;
    if (controller)
      errors.invalid(list, "[]",
                     fmt::format("Only one reference can have Controller set to true. Found \"true\" in references for "
                                 "{} and {}", controller->name, owner.name));
    else controller = &owner;
  }
}

bool has(const std::vector<std::string>& list, std::string_view text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

void validate_finalizers(const Resource& resource, const api::ObjectMeta& metadata, const api::ObjectMeta* old,
                         FieldErrors& errors) {
  if (metadata.finalizers.empty()) return;
  const Path path("metadata");
  // Kinds of the extension servers are held to the generic rules only, as custom resources are.
  const bool core_rules = resource.kind->type->ops != &api::custom_object_ops() &&
                          !is_one_of(resource.kind->group, {"apiextensions.k8s.io", "apiregistration.k8s.io"});
  for (size_t i = 0; i < metadata.finalizers.size(); ++i) {
    const std::string& finalizer = metadata.finalizers[i];
    check_qualified_name(finalizer, path.child("finalizers"), errors);
    bool known = finalizer.find('/') != std::string::npos ||
                 is_one_of(finalizer, {"kubernetes", "orphan", "foregroundDeletion"});
    if (core_rules && !known)
      errors.invalid(path.child("finalizers", i), quote(finalizer),
                     "name is neither a standard finalizer name nor is it fully qualified");
  }
  if (has(metadata.finalizers, "orphan") && has(metadata.finalizers, "foregroundDeletion"))
    errors.invalid(path.child("finalizers"), json_of(metadata.finalizers),
                   "finalizer orphan and foregroundDeletion cannot be both set");
  if (!old || !old->deletionTimestamp) return;
  for (const std::string& finalizer : metadata.finalizers)
    if (!has(old->finalizers, finalizer))
      errors.forbidden(path.child("finalizers"),
                       fmt::format("no new finalizers can be added if the object is being deleted, found new "
                                   "finalizers []string{{{}}}", quote(finalizer)));
}

}  // namespace

void validate_metadata(const Resource& resource, const api::ObjectMeta& metadata, const api::ObjectMeta* old,
                       api::FieldErrors& errors) {
  if (!old) validate_name(resource, metadata, errors);
  const Path path("metadata");
  check_labels(metadata.labels, path.child("labels"), errors);
  check_annotations(metadata.annotations, path.child("annotations"), errors);
  validate_owners(metadata, errors);
  validate_finalizers(resource, metadata, old, errors);
}

}  // namespace skiff::registry
