// Deletion: preconditions, grace periods, propagation and finalizers (rest.BeforeDelete and the generic store).

#include <algorithm>

#include "registry/admission.hpp"
#include "registry/write.hpp"

namespace skiff::registry {
namespace {

constexpr char kOrphan[] = "orphan";
constexpr char kForeground[] = "foregroundDeletion";

Status check_options(const client::DeleteOptions& options) {
  const std::string& policy = options.propagation;
  if (policy.empty() || policy == "Orphan" || policy == "Background" || policy == "Foreground") return ok();
  return error(Code::Invalid, "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"{}\": "
                              "supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
               policy);
}

Status check_preconditions(const Resource& resource, const client::DeleteOptions& options,
                           const api::ObjectMeta& current) {
  if (!options.uid.empty() && options.uid != current.uid)
    return api::uid_conflict(*resource.kind, current.name, options.uid, current.uid);
  if (!options.resource_version.empty() && options.resource_version != current.resourceVersion)
    return api::conflict(*resource.kind, current.name,
                         fmt::format("Precondition failed: ResourceVersion in precondition: {}, ResourceVersion in "
                                     "object meta: {}",
                                     options.resource_version, current.resourceVersion));
  return ok();
}

// The garbage collector's finalizers say how the dependents go.
void set_propagation(const Resource& resource, const client::DeleteOptions& options, api::ObjectMeta& metadata) {
  std::string policy = options.propagation;
  if (policy.empty() && resource.strategy.orphans_by_default) policy = "Orphan";
  if (policy.empty()) return;
  std::erase(metadata.finalizers, kOrphan);
  std::erase(metadata.finalizers, kForeground);
  if (policy == "Orphan") metadata.finalizers.emplace_back(kOrphan);
  if (policy == "Foreground") metadata.finalizers.emplace_back(kForeground);
}

// One attempt's decision: the object to write back, or nothing when it goes now.
std::optional<Draft> begin_deletion(const Resource& resource, const AnyRef& current,
                                    const client::DeleteOptions& options, WallTime now) {
  const Strategy& strategy = resource.strategy;
  Draft next{resource.kind, resource.kind->type->ops->copy(current.get())};
  api::ObjectMeta& metadata = next.metadata();
  set_propagation(resource, options, metadata);
  std::int64_t grace = strategy.grace_seconds ? strategy.grace_seconds(current.get(), options) : 0;
  if (metadata.deletionTimestamp) {
    // A second request can only shorten the wait.
    grace = std::min(grace, metadata.deletionGracePeriodSeconds.value_or(0));
  }
  if (grace == 0 && !is_held(resource, next)) return std::nullopt;
  bool first = !metadata.deletionTimestamp;
  if (first || grace < metadata.deletionGracePeriodSeconds.value_or(0))
    metadata.deletionTimestamp = api::Time::from(now + std::chrono::seconds(grace));
  metadata.deletionGracePeriodSeconds = grace;
  if (first && metadata.generation > 0) ++metadata.generation;
  if (first && strategy.begin_deletion) strategy.begin_deletion(next.value.get());
  return next;
}

}  // namespace

Result<Removal> Registry::remove(const Resource& resource, const ObjectKey& key, const client::DeleteOptions& options,
                                 RequestContext& context) {
  TRY(check_options(options));
  StrategyContext strategy = strategy_context(context);
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    TRY_ASSIGN(Object current, get(resource, key));
    const AnyRef old = current.any();
    TRY(check_preconditions(resource, options, old.metadata()));
    Attributes attributes{Operation::Delete, resource, "", key, nullptr, old, strategy};
    attributes.deletion = &options;
    TRY(admission_->admit(attributes));
    std::optional<Draft> held = begin_deletion(resource, old, options, clock_.wall_now());
    if (context.dry_run) return Removal{current, !held};
    if (held) {
      held->metadata().resourceVersion = old.metadata().resourceVersion;
      if (resource.kind->type->ops->equal(held->value.get(), old.get())) return Removal{current, false};
    }
    Draft target = held ? *held : Draft{resource.kind, resource.kind->type->ops->copy(old.get())};
    auto kind = held ? store::Write::Kind::Update : store::Write::Kind::Delete;
    Result<Object> written = write_draft(store_, resource, std::move(target), kind, current.revision());
    if (written.ok()) {
      if (!held && resource.strategy.release) resource.strategy.release(old.get(), nullptr);
      return Removal{std::move(written).value(), !held};
    }
    if (written.error().code() == Code::NotFound) return api::not_found(*resource.kind, key.name);
    if (written.error().code() != Code::Conflict) return std::move(written).error();
  }
  return api::stale_update(*resource.kind, key.name);
}

Result<std::vector<Object>> Registry::remove_collection(const Resource& resource, const ListQuery& query,
                                                        const client::DeleteOptions& options,
                                                        RequestContext& context) {
  TRY_ASSIGN(ListPage page, list(resource, query));
  std::vector<Object> removed;
  for (const Object& object : page.items) {
    Result<Removal> removal = remove(resource, client::key_of(*object.metadata()), options, context);
    if (removal.ok()) removed.push_back(removal.value().object);
    else if (removal.error().code() != Code::NotFound) return std::move(removal).error();
  }
  return removed;
}

}  // namespace skiff::registry
