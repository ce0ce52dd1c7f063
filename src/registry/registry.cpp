#include "registry/registry.hpp"

#include "api/defaults.hpp"
#include "api/json.hpp"
#include "base/encoding.hpp"
#include "registry/local_client.hpp"
#include "registry/paging.hpp"

namespace skiff::registry {

std::string Resource::prefix() const { return fmt::format("{}/{}/", kind->group, kind->plural); }

std::string Resource::key(const client::ObjectKey& key) const {
  return kind->namespaced ? fmt::format("{}{}/{}", prefix(), key.namespace_, key.name) : prefix() + key.name;
}

Registry::Registry(store::Store& store, Clock& clock, Random& random, const ServiceRangeOptions& ranges)
    : store_(store), clock_(clock), random_(random), ranges_(std::make_shared<ServiceRanges>(ranges)),
      resources_(all_resources(ranges_)), local_client_(std::make_unique<LocalClient>(*this, clock)) {
  for (const Resource& resource : resources_) {
    by_kind_[resource.kind] = &resource;
    if (!resource.strategy.adopt) continue;
    Result<ListPage> present = list(resource, {});
    if (!present.ok()) continue;  // a list of the newest state reads memory only
    for (const Object& object : present.value().items) resource.strategy.adopt(object.any().get());
  }
}

Registry::~Registry() = default;

const Resource* Registry::find(std::string_view group, std::string_view version, std::string_view plural) const {
  const api::KindInfo* kind = api::find_resource(group, version, plural);
  auto found = by_kind_.find(kind);
  return found == by_kind_.end() ? nullptr : found->second;
}

const Resource& Registry::of(const api::KindInfo& kind) const { return *by_kind_.at(&kind); }

namespace {

Status check_type(const api::DecodeReport& report, const api::KindInfo& kind) {
  std::string api_version = kind.api_version();
  if (!report.kind.empty() && report.kind != kind.kind)
    return api::bad_request(fmt::format("{} in version \"{}\" cannot be handled as a {}: converting ({}).{} to ({}).{}: "
                                        "unknown conversion",
                                        report.kind, kind.version, kind.kind, report.api_version, report.kind,
                                        api_version, kind.kind));
  if (!report.api_version.empty() && report.api_version != api_version)
    return api::bad_request(fmt::format("the API version in the data ({}) does not match the expected API version ({})",
                                        report.api_version, api_version));
  return ok();
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

Result<Object> Registry::get(const Resource& resource, const ObjectKey& key) const {
  Result<store::RecordRef> record = store_.get(resource.key(key));
  if (record.ok()) return Object(*resource.kind, std::move(record).value());
  if (record.error().code() == Code::NotFound) return api::not_found(*resource.kind, key.name);
  return std::move(record).error();
}

}  // namespace skiff::registry
