#include "registry/write.hpp"

#include <nlohmann/json.hpp>

#include "api/defaults.hpp"
#include "api/gen/autoscaling.hpp"
#include "api/json.hpp"
#include "api/patch.hpp"
#include "registry/admission.hpp"
#include "registry/field_managers.hpp"
#include "registry/metadata.hpp"

namespace skiff::registry {

Result<Object> write_draft(store::Store& store, const Resource& resource, Draft draft, store::Write::Kind kind,
                           std::optional<store::Revision> expect) {
  api::ObjectMeta& metadata = draft.metadata();
  metadata.resourceVersion.clear();
  api::Encoded encoded =
      api::encode_json(*draft.kind->type, draft.value.get(), {.splice = &metadata.resourceVersion});
  store::Write write{.kind = kind,
                     .key = resource.key(client::key_of(metadata)),
                     .value = std::move(encoded.text),
                     .revision_at = encoded.position,
                     .expect = expect,
                     .durable = resource.strategy.durable,
                     .view = [value = draft.value](store::Revision revision) -> std::shared_ptr<const void> {
                       static_cast<api::ObjectMeta*>(value.get())->resourceVersion = std::to_string(revision);
                       return value;
                     }};
  if (kind == store::Write::Kind::Delete) write.value.clear(), write.revision_at.reset(), write.view = nullptr;
  TRY_ASSIGN(store::RecordRef record, store.write(std::move(write)));
  return kind == store::Write::Kind::Delete ? Object(*draft.kind, std::move(record))
                                            : Object(*draft.kind, std::move(record), draft.value);
}

Object unwritten(const Draft& draft, const std::string& resource_version) {
  draft.metadata().resourceVersion = resource_version;
  auto record = std::make_shared<store::Record>();
  record->value = api::encode_json(*draft.kind->type, draft.value.get());
  return Object(*draft.kind, std::move(record), draft.value);
}

bool is_held(const Resource& resource, const Draft& draft) {
  return !draft.metadata().finalizers.empty() ||
         (resource.strategy.held && resource.strategy.held(draft.value.get()));
}

namespace {

// A custom object that came in another version than the stored one has been judged by its own version's schema when it
// was converted; the stored version's is none of its writer's business.
bool is_judged(const Resource& resource, const StrategyContext& context) {
  const std::string& spoken = context.request.api_version;
  return resource.kind->type->open && !spoken.empty() && spoken != resource.kind->api_version();
}

// Fills in what the creator may not choose and checks the rest.
Status prepare_create(const Resource& resource, Draft& draft, StrategyContext& context) {
  const Strategy& strategy = resource.strategy;
  begin_life(draft.metadata(), context.now, context.random);
  if (strategy.reset_status) strategy.reset_status(draft.value.get());
  if (strategy.counts_generation) draft.metadata().generation = 1;
  if (strategy.prepare_create) TRY(strategy.prepare_create(draft.value.get(), context));
  api::FieldErrors errors;
  validate_metadata(resource, draft.metadata(), nullptr, errors);
  if (strategy.validate && !is_judged(resource, context)) strategy.validate(draft.value.get(), nullptr, errors);
  if (!errors.empty()) return api::invalid(*resource.kind, draft.metadata().name, errors);
  if (strategy.warn) strategy.warn(draft.value.get(), nullptr, context.request.warnings);
  return ok();
}

constexpr int kGeneratedSuffix = 5;
constexpr size_t kMaxGeneratedBase = 63 - kGeneratedSuffix;
constexpr int kGenerateAttempts = 8;

std::string generated_name(const std::string& base, Random& random) {
  return base.substr(0, kMaxGeneratedBase) + random.name_suffix(kGeneratedSuffix);
}

}  // namespace

Result<Object> Registry::create(const Resource& resource, const std::string& namespace_, Draft draft,
                                RequestContext& context) {
  StrategyContext strategy = strategy_context(context);
  TRY(place(resource, namespace_, draft.metadata()));
  Attributes attributes{Operation::Create, resource, "", client::key_of(draft.metadata()), &draft, {}, strategy};
  if (!resource.strategy.stored) {
    TRY(admission_->admit(attributes));
    TRY(resource.strategy.answer(draft.value.get(), strategy));
    return unwritten(draft, "");
  }
  api::ObjectMeta& metadata = draft.metadata();
  if (!metadata.resourceVersion.empty())
    return api::bad_request("resourceVersion should not be set on objects to be created");
  if (!draft.tracked) track_create(resource, draft, context, strategy.now);
  TRY(admission_->mutate(attributes));
  return create_admitted(attributes);
}

Result<Object> Registry::create_admitted(const Attributes& admitted) {
  const Resource& resource = admitted.resource;
  StrategyContext& strategy = admitted.context;
  const Draft& draft = *admitted.object;
  api::ObjectMeta& metadata = draft.metadata();
  bool generated = metadata.name.empty() && !metadata.generateName.empty();
  for (int attempt = 1;; ++attempt) {
    if (generated) metadata.name = generated_name(metadata.generateName, random_);
    Draft next{draft.kind, draft.kind->type->ops->copy(draft.value.get())};
    TRY(prepare_create(resource, next, strategy));
    if (resource.strategy.allocate) TRY(resource.strategy.allocate(next.value.get(), nullptr, strategy));
    auto release = [&] {
      if (resource.strategy.release) resource.strategy.release(next.value.get(), nullptr);
    };
    Attributes attributes = admitted;
    attributes.object = &next;
    attributes.key.name = next.metadata().name;
    Result<QuotaCharge> charge = admission_->validate(attributes);
    if (!charge.ok() || admitted.dry_run()) release();
    TRY(charge.ok() ? ok() : Status(charge.error()));
    if (admitted.dry_run()) {
      if (get(resource, client::key_of(next.metadata())).ok()) return api::already_exists(*resource.kind, metadata.name);
      return unwritten(next, "");
    }
    Result<Object> created = write_draft(store_, resource, next, store::Write::Kind::Create, std::nullopt);
    if (created.ok()) {
      charge.value().keep();
      return created;
    }
    release();
    if (created.error().code() != Code::AlreadyExists) return created;
    if (!generated || attempt == kGenerateAttempts) return api::already_exists(*resource.kind, metadata.name);
  }
}

Status check_preconditions(const Resource& resource, const api::ObjectMeta& wanted, const api::ObjectMeta& current) {
  if (!wanted.uid.empty() && wanted.uid != current.uid)
    return api::uid_conflict(*resource.kind, current.name, wanted.uid, current.uid);
  if (!wanted.resourceVersion.empty() && wanted.resourceVersion != current.resourceVersion)
    return api::stale_update(*resource.kind, current.name);
  return ok();
}

namespace {

Status prepare_update(const Resource& resource, Draft& next, const void* old, const std::string& subresource,
                      StrategyContext& context) {
  const Strategy& strategy = resource.strategy;
  const api::ObjectMeta& old_metadata = *static_cast<const api::ObjectMeta*>(old);
  keep_identity(next.metadata(), old_metadata);
  const bool judged = is_judged(resource, context);
  api::FieldErrors errors;
  if (subresource == "status") {
    next.metadata().ownerReferences = old_metadata.ownerReferences;
    if (strategy.copy_spec) strategy.copy_spec(next.value.get(), old);
    if (strategy.prepare_status_update) TRY(strategy.prepare_status_update(next.value.get(), old, context));
    validate_metadata(resource, next.metadata(), &old_metadata, errors);
    if (strategy.validate_status && !judged) strategy.validate_status(next.value.get(), old, errors);
  } else {
    if (strategy.copy_status && subresource.empty()) strategy.copy_status(next.value.get(), old);
    if (strategy.prepare_update && subresource.empty()) TRY(strategy.prepare_update(next.value.get(), old, context));
    if (strategy.prepare_subresource_update && !subresource.empty())
      TRY(strategy.prepare_subresource_update(next.value.get(), old, subresource, context));
    // Placing a pod is no change of what its owner wants.
    bool wish = subresource != "binding";
    if (wish && strategy.counts_generation && !strategy.same_spec(next.value.get(), old))
      next.metadata().generation = old_metadata.generation + 1;
    validate_metadata(resource, next.metadata(), &old_metadata, errors);
    if (strategy.validate && !judged && (subresource.empty() || subresource == "scale"))
      strategy.validate(next.value.get(), old, errors);
    if (strategy.validate_subresource && !subresource.empty())
      strategy.validate_subresource(next.value.get(), old, subresource, errors);
  }
  if (!errors.empty()) return api::invalid(*resource.kind, old_metadata.name, errors);
  if (strategy.warn && subresource.empty()) strategy.warn(next.value.get(), old, context.request.warnings);
  return ok();
}

// Managers that only their time tells from before do not make a change.
bool unchanged(const Draft& next, const AnyRef& current) {
  next.metadata().resourceVersion = current.metadata().resourceVersion;
  auto& managers = next.metadata().managedFields;
  const auto& before = current.metadata().managedFields;
  if (managers == before || !api::same_but_for_times(managers, before))
    return next.kind->type->ops->equal(next.value.get(), current.get());
  auto after = std::exchange(managers, before);
  if (next.kind->type->ops->equal(next.value.get(), current.get())) return true;
  managers = std::move(after);
  return false;
}

// What admission sees of a change: the object, or of one of /scale the Scale.
struct Judged {
  AnyRef old;
  Draft scale = {};  // no value: the object itself

  Draft* draft(Draft& next) { return scale.value ? &scale : &next; }
  Status settle(const Resource& resource, Draft& next) const {
    if (!scale.value) return ok();
    return set_replicas(resource, next, static_cast<const api::Scale*>(scale.value.get())->spec.replicas);
  }
};

Judged judged_change(const Resource& resource, const std::string& subresource, const Draft& next, const AnyRef& old) {
  AnyRef scale = subresource == "scale" ? scale_of(resource, next.any()) : AnyRef();
  if (!scale) return {old};
  return {scale_of(resource, old), {&scale.kind(), scale.kind().type->ops->copy(scale.get())}};
}

}  // namespace

Result<Object> Registry::mutate(const Resource& resource, const ObjectKey& key, const std::string& subresource,
                                RequestContext& context, const Mutation& change) {
  StrategyContext strategy = strategy_context(context);
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    TRY_ASSIGN(Object current, get(resource, key));
    const AnyRef old = current.any();
    Draft next{resource.kind, resource.kind->type->ops->copy(old.get())};
    TRY(change(next, old));
    if (!next.tracked && subresource != "binding")
      track_update(resource, {next, old, subresource}, context, strategy.now);
    // A binding was admitted as what it is.
    Judged judged = judged_change(resource, subresource, next, old);
    Attributes attributes{Operation::Update, resource, subresource, key, judged.draft(next), judged.old, strategy};
    if (subresource != "binding") TRY(admission_->mutate(attributes));
    TRY(judged.settle(resource, next));
    TRY(prepare_update(resource, next, old.get(), subresource, strategy));
    if (resource.strategy.allocate && subresource.empty())
      TRY(resource.strategy.allocate(next.value.get(), old.get(), strategy));
    auto release = [&](const void* gone, const void* kept) {
      if (resource.strategy.release) resource.strategy.release(gone, kept);
    };
    Result<QuotaCharge> charge = subresource == "binding" ? QuotaCharge() : admission_->validate(attributes);
    bool same = charge.ok() && unchanged(next, old);
    if (!charge.ok() || same || context.dry_run) release(next.value.get(), old.get());
    if (!charge.ok()) return std::move(charge).error();
    if (same) return current;
    if (context.dry_run) return unwritten(next, old.metadata().resourceVersion);
    // The last finalizer went from an object that waits to be deleted: this update is its end.
    bool ends = next.metadata().deletionTimestamp && next.metadata().deletionGracePeriodSeconds.value_or(0) == 0 &&
                !is_held(resource, next);
    auto kind = ends ? store::Write::Kind::Delete : store::Write::Kind::Update;
    Result<Object> written = write_draft(store_, resource, next, kind, current.revision());
    if (written.ok()) {
      charge.value().keep();
      release(old.get(), ends ? nullptr : next.value.get());
      return written;
    }
    release(next.value.get(), old.get());
    if (written.error().code() == Code::NotFound) return api::not_found(*resource.kind, key.name);
    if (written.error().code() != Code::Conflict) return written;
  }
  return api::stale_update(*resource.kind, key.name);
}

Result<UpdateResult> Registry::update(const Resource& resource, const ObjectKey& key, Draft draft,
                                      const std::string& subresource, RequestContext& context) {
  api::ObjectMeta& metadata = draft.metadata();
  TRY(place(resource, key.namespace_, metadata));
  if (metadata.name.empty()) metadata.name = key.name;
  if (metadata.name != key.name)
    return api::bad_request(fmt::format("the name of the object ({}) does not match the name on the URL ({})",
                                        metadata.name, key.name));
  if (!resource.strategy.unconditional_update && metadata.resourceVersion.empty()) {
    api::FieldErrors errors;
    errors.invalid("metadata.resourceVersion", "0", "must be specified for an update");
    return api::invalid(*resource.kind, key.name, errors);
  }
  Result<Object> updated = mutate(resource, key, subresource, context, [&](Draft& next, const AnyRef& current) -> Status {
    TRY(check_preconditions(resource, metadata, current.metadata()));
    next.value = draft.kind->type->ops->copy(draft.value.get());
    return ok();
  });
  if (updated.ok()) return UpdateResult{std::move(updated).value(), false};
  bool creates = updated.error().code() == Code::NotFound && resource.strategy.create_on_update && subresource.empty();
  if (!creates) return std::move(updated).error();
  if (!metadata.resourceVersion.empty() || !metadata.uid.empty()) return std::move(updated).error();
  TRY_ASSIGN(Object created, create(resource, key.namespace_, std::move(draft), context));
  return UpdateResult{std::move(created), true};
}

namespace {

Result<nlohmann::json> patched_document(const nlohmann::json& document, client::PatchType type,
                                        const nlohmann::json& patch, const api::TypeInfo& info) {
  switch (type) {
    case client::PatchType::Json: return api::apply_json_patch(document, patch);
    case client::PatchType::Merge: return api::apply_merge_patch(document, patch);
    case client::PatchType::StrategicMerge: return api::apply_strategic_patch(document, patch, info);
    case client::PatchType::Apply: break;  // Registry::apply
  }
  return api::bad_request("unknown patch type");
}

Status check_patch_shape(client::PatchType type, const nlohmann::json& patch) {
  if (type == client::PatchType::Json ? patch.is_array() : patch.is_object()) return ok();
  return api::bad_request(type == client::PatchType::Json
                              ? "json: cannot unmarshal object into Go value of type jsonpatch.Patch"
                              : "json: cannot unmarshal array into Go value of type map[string]interface {}");
}

// A well-formed patch whose outcome is no object of the kind, as patchResource words it.
Error unfit(const nlohmann::json& patched, const Error& why) {
  static constexpr api::KindInfo kNoKind{.group = "", .kind = ""};
  std::string_view reason = why.message();
  if (size_t prefix = reason.find(" cannot be handled as a "); prefix != reason.npos)
    reason.remove_prefix(reason.find(": ", prefix) + 2);
  api::FieldErrors errors;
  errors.invalid("patch", api::quote(patched.dump()), reason);
  return api::invalid(kNoKind, "", errors);
}

}  // namespace

Result<Object> Registry::patch(const ServedKind& served, const ObjectKey& key, client::PatchType type,
                               std::string_view body, const std::string& subresource, RequestContext& context) {
  const Resource& resource = *served.resource;
  TRY_ASSIGN(nlohmann::json patch, api::parse_json(body));
  TRY(check_patch_shape(type, patch));
  const size_t warned = context.warnings.size();
  return mutate(resource, key, subresource, context, [&](Draft& next, const AnyRef& current) -> Status {
    std::string stored = api::encode_json(*resource.kind->type, current.get());
    TRY_ASSIGN(std::string seen, in_version(served, stored));
    TRY_ASSIGN(nlohmann::json document, api::parse_json(seen));
    TRY_ASSIGN(nlohmann::json patched, patched_document(document, type, patch, *served.kind->type));
    context.warnings.resize(warned);  // those of an earlier attempt
    Result<Draft> decoded = decode(served, patched.dump(), context);
    if (!decoded.ok() && decoded.error().code() == Code::BadRequest) return unfit(patched, decoded.error());
    TRY_ASSIGN(next, std::move(decoded));
    TRY(check_preconditions(resource, next.metadata(), current.metadata()));
    if (next.metadata().name != key.name || next.metadata().namespace_ != key.namespace_) {
      api::FieldErrors errors;
      errors.invalid("metadata.name", api::quote(next.metadata().name), "field is immutable");
      return api::invalid(*resource.kind, key.name, errors);
    }
    return ok();
  });
}

}  // namespace skiff::registry
