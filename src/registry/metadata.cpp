#include "registry/metadata.hpp"

#include <algorithm>

#include "api/names.hpp"

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

constexpr size_t kMaxAnnotationBytes = 256 * 1024;

void validate_name(const Resource& resource, const api::ObjectMeta& metadata, api::FieldErrors& errors) {
  auto problems = [&](std::string_view name) {
    return resource.strategy.name_problems ? resource.strategy.name_problems(name)
                                           : api::dns1123_subdomain_problems(name);
  };
  if (metadata.name.empty()) {
    errors.required("metadata.name", "name or generateName is required");
    return;
  }
  for (const std::string& problem : problems(metadata.name))
    errors.invalid("metadata.name", api::quote(metadata.name), problem);
}

void validate_labels(const api::ObjectMeta& metadata, api::FieldErrors& errors) {
  for (const auto& [key, value] : metadata.labels) {
    for (const std::string& problem : api::qualified_name_problems(key))
      errors.invalid("metadata.labels", api::quote(key), problem);
    for (const std::string& problem : api::label_value_problems(value))
      errors.invalid("metadata.labels", api::quote(value), problem);
  }
}

void validate_annotations(const api::ObjectMeta& metadata, api::FieldErrors& errors) {
  size_t total = 0;
  for (const auto& [key, value] : metadata.annotations) {
    std::string lowered = key;
    for (char& c : lowered) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    for (const std::string& problem : api::qualified_name_problems(lowered))
      errors.invalid("metadata.annotations", api::quote(key), problem);
    total += key.size() + value.size();
  }
  if (total > kMaxAnnotationBytes) errors.too_long("metadata.annotations", kMaxAnnotationBytes);
}

void validate_owners(const api::ObjectMeta& metadata, api::FieldErrors& errors) {
  int controllers = 0;
  for (const api::OwnerReference& owner : metadata.ownerReferences) {
    const char* path = "metadata.ownerReferences";
    if (owner.apiVersion.empty())
      errors.invalid(fmt::format("{}.apiVersion", path), "\"\"", "version must not be empty");
    if (owner.kind.empty()) errors.invalid(fmt::format("{}.kind", path), "\"\"", "must not be empty");
    if (owner.name.empty()) errors.invalid(fmt::format("{}.name", path), "\"\"", "must not be empty");
    if (owner.uid.empty()) errors.invalid(fmt::format("{}.uid", path), "\"\"", "must not be empty");
    controllers += owner.controller.value_or(false) ? 1 : 0;
  }
  if (controllers > 1)
    errors.invalid("metadata.ownerReferences", "[]", "Only one reference can have Controller set to true");
}

void validate_finalizers(const api::ObjectMeta& metadata, const api::ObjectMeta* old, api::FieldErrors& errors) {
  for (const std::string& finalizer : metadata.finalizers)
    for (const std::string& problem : api::qualified_name_problems(finalizer))
      errors.invalid("metadata.finalizers", api::quote(finalizer), problem);
  if (!old || !old->deletionTimestamp) return;
  for (const std::string& finalizer : metadata.finalizers)
    if (std::find(old->finalizers.begin(), old->finalizers.end(), finalizer) == old->finalizers.end())
      errors.forbidden("metadata.finalizers", fmt::format("no new finalizers can be added if the object is being "
                                                          "deleted, found new finalizers []string{{{}}}",
                                                          api::quote(finalizer)));
}

}  // namespace

void validate_metadata(const Resource& resource, const api::ObjectMeta& metadata, const api::ObjectMeta* old,
                       api::FieldErrors& errors) {
  if (!old) validate_name(resource, metadata, errors);
  validate_labels(metadata, errors);
  validate_annotations(metadata, errors);
  validate_owners(metadata, errors);
  validate_finalizers(metadata, old, errors);
}

}  // namespace skiff::registry
