#include "registry/registry.hpp"

#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "api/defaults.hpp"
#include "api/json.hpp"
#include "api/versions.hpp"
#include "base/encoding.hpp"
#include "registry/admission.hpp"
#include "registry/local_client.hpp"
#include "registry/paging.hpp"
#include "registry/running_watches.hpp"
#include "registry/usage_source.hpp"
#include "registry/write.hpp"

namespace skiff::registry {

std::string Resource::prefix() const { return fmt::format("{}/{}/", kind->group, kind->plural); }

std::string Resource::key(const client::ObjectKey& key) const {
  return kind->namespaced ? fmt::format("{}{}/{}", prefix(), key.namespace_, key.name) : prefix() + key.name;
}

Registry::Registry(store::Store& store, Clock& clock, Random& random, const ServiceRangeOptions& ranges)
    : store_(store), clock_(clock), random_(random), ranges_(std::make_shared<ServiceRanges>(ranges)),
      usage_(std::make_shared<UsageSource>()), resources_(all_resources(ranges_, usage_)),
      watches_(std::make_unique<RunningWatches>()), local_client_(client_for("kube-apiserver")) {
  for (const Resource& resource : resources_) built_in_.push_back({&resource, resource.kind, nullptr, resource.strategy.warning});
  other_versions_ = other_versions(resources_);
  {
    MutexLock lock(publishing_);
    serve_all();
  }
  admission_ = std::make_unique<Admission>(*this);
  for (const Resource& resource : resources_) {
    if (!resource.strategy.adopt) continue;
    Result<ListPage> present = list(resource, {});
    if (!present.ok()) continue;  // a list of the newest state reads memory only
    for (const Object& object : present.value().items) resource.strategy.adopt(object.any().get());
  }
}

Registry::~Registry() = default;

void Registry::set_usage_source(UsageSource source) { *usage_ = std::move(source); }

StrategyContext Registry::strategy_context(RequestContext& context) {
  return {context, *local_client_, *authorizer_, token_authenticator_, certificates_, random_, clock_.wall_now()};
}

bool Registry::any_in(const Resource& resource, const std::string& namespace_) const {
  return store_.count(resource.prefix() + namespace_ + "/") > 0;
}

Status Registry::admit_connect(const Resource& resource, const ObjectKey& key, const std::string& subresource,
                               std::pair<std::string, std::string> kind_and_options, RequestContext& context) {
  StrategyContext strategy = strategy_context(context);
  Attributes attributes{Operation::Connect, resource, subresource, key, nullptr, {}, strategy};
  std::tie(attributes.connect_kind, attributes.connect_options) = std::move(kind_and_options);
  return admission_->admit(attributes);
}

std::unique_ptr<client::Client> Registry::client_for(std::string manager) {
  return std::make_unique<LocalClient>(*this, clock_, std::move(manager));
}

const Resource& Registry::of(const api::KindInfo& kind) const {
  // The pointer outlives the snapshot: resources are kept as long as the registry.
  std::shared_ptr<const Catalogue> now = catalogue();
  if (const Resource* resource = now->of(kind)) return *resource;
  // A published kind has another identity each time it is published: those who still hold an old one get the new, or
  // when there is none any more, the last.
  if (const ServedKind* served = now->find(kind.group, kind.version, kind.plural)) return *served->resource;
  MutexLock lock(publishing_);
  for (auto publication = kept_.rbegin(); publication != kept_.rend(); ++publication)
    if ((*publication)->resource->kind == &kind) return *(*publication)->resource;
  std::fprintf(stderr, "kind '%s' of '%s' is not stored\n", kind.kind, kind.api_version().c_str());
  std::abort();
}

void Registry::serve_all() {
  std::vector<const ServedKind*> served;
  for (const ServedKind& one : built_in_) served.push_back(&one);
  for (const ServedKind& one : other_versions_.served) served.push_back(&one);
  for (const auto& [name, publication] : published_)
    for (const ServedKind& one : publication->versions) served.push_back(&one);
  std::shared_ptr<const Catalogue> last = catalogue();
  auto next = std::make_shared<const Catalogue>(std::move(served), last ? last->generation() + 1 : 1);
  MutexLock lock(catalogue_mutex_);
  catalogue_ = std::move(next);
}

void Registry::publish(const std::string& name, Publication publication) {
  MutexLock lock(publishing_);
  kept_.push_back(std::make_unique<const Publication>(std::move(publication)));
  published_[name] = kept_.back().get();
  serve_all();
}

void Registry::retire(const std::string& name) {
  MutexLock lock(publishing_);
  if (published_.erase(name) > 0) serve_all();
}

void Registry::end_watches(const api::KindInfo& kind) { watches_->retire(kind); }

namespace {

// Whether `report` names an older version of a subresource's kind (policy/v1beta1 Eviction).
bool is_older_form(const api::DecodeReport& report, const api::KindInfo& kind) {
  if (kind.is_resource()) return false;
  for (const api::OtherVersion& other : api::other_versions())
    if (report.api_version == other.api_version() && report.kind == other.kind && kind.kind == report.kind) return true;
  return false;
}

Status check_type(const api::DecodeReport& report, const api::KindInfo& kind) {
  std::string api_version = kind.api_version();
  if (!report.kind.empty() && report.kind != kind.kind)
    return api::bad_request(fmt::format("{} in version \"{}\" cannot be handled as a {}: converting ({}).{} to ({}).{}: "
                                        "unknown conversion",
                                        report.kind, kind.version, kind.kind, report.api_version, report.kind,
                                        api_version, kind.kind));
  if (!report.api_version.empty() && report.api_version != api_version && !is_older_form(report, kind))
    return api::bad_request(fmt::format("the API version in the data ({}) does not match the expected API version ({})",
                                        report.api_version, api_version));
  return ok();
}

std::string text_member(const nlohmann::json& object, const char* name) {
  auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

Status judge_strictness(const api::DecodeReport& report, const api::KindInfo& kind, RequestContext& context) {
  switch (context.field_validation) {
    case RequestContext::FieldValidation::Ignore: return ok();
    case RequestContext::FieldValidation::Warn:
      for (const std::string& problem : report.strict) context.warnings.push_back(problem);
      return ok();
    case RequestContext::FieldValidation::Strict:
      if (report.strict.empty()) return ok();
      return api::bad_request(fmt::format("{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}",
                                          kind.kind, kind.version, kind.kind, join(report.strict, ", ")));
  }
  return ok();
}

}  // namespace

Result<Draft> Registry::decode(const api::KindInfo& kind, std::string_view body, RequestContext& context) const {
  Draft draft{&kind, kind.type->ops->make()};
  api::DecodeReport report;
  Status decoded = api::decode_json(body, *kind.type, draft.value.get(), &report);
  if (!decoded.ok())
    return std::move(decoded).error().in(
        fmt::format("{} in version \"{}\" cannot be handled as a {}", kind.kind, kind.version, kind.kind));
  TRY(check_type(report, kind));
  TRY(judge_strictness(report, kind, context));
  api::apply_defaults(*kind.type, draft.value.get());
  return draft;
}

Result<Draft> Registry::decode(const ServedKind& served, std::string_view body, RequestContext& context) const {
  if (served.conversion == nullptr) return decode(*served.kind, body, context);
  std::vector<nlohmann::json> objects(1);
  api::DecodeReport seen;
  if (served.has_own_type()) {
    TRY_ASSIGN(Draft draft, decode(*served.kind, body, context));
    TRY_ASSIGN(objects[0], api::parse_json(api::encode_json(*draft.kind->type, draft.value.get())));
  } else {
    TRY_ASSIGN(objects[0], api::parse_json(body));
    if (!objects[0].is_object()) return decode(*served.resource->kind, body, context);  // fails in the right words
    seen.api_version = text_member(objects[0], "apiVersion");
    seen.kind = text_member(objects[0], "kind");
    TRY(check_type(seen, *served.kind));
  }
  TRY(served.conversion->to_stored(objects));
  if (!served.has_own_type()) return decode(*served.resource->kind, objects[0].dump(), context);
  RequestContext judged = context;  // by the version's own schema, above
  judged.field_validation = RequestContext::FieldValidation::Ignore;
  return decode(*served.resource->kind, objects[0].dump(), judged);
}

Result<Object> Registry::get(const Resource& resource, const ObjectKey& key) const {
  if (resource.strategy.make_all) {
    for (Object& object : made(resource)) {
      client::Ref<api::ObjectMeta> metadata = object.metadata();
      bool same_namespace = !resource.kind->namespaced || metadata->namespace_ == key.namespace_;
      if (metadata->name == key.name && same_namespace) return std::move(object);
    }
    return api::not_found(*resource.kind, key.name);
  }
  Result<store::RecordRef> record = store_.get(resource.key(key));
  if (record.ok()) return Object(*resource.kind, std::move(record).value());
  if (record.error().code() == Code::NotFound) return api::not_found(*resource.kind, key.name);
  return std::move(record).error();
}

std::vector<Object> made(const Resource& resource) {
  std::vector<Object> objects;
  for (std::shared_ptr<void>& value : resource.strategy.make_all())
    objects.push_back(unwritten({resource.kind, std::move(value)}, ""));
  return objects;
}

}  // namespace skiff::registry
