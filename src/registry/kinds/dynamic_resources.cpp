// Dynamic resource allocation: DeviceClasses, ResourceClaims and their templates, ResourceSlices
// (pkg/apis/resource/validation). CEL selectors are kept as they are: nothing here allocates devices.

#include <map>
#include <set>

#include "api/gen/resource.hpp"
#include "registry/kinds/containers.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"
#include "registry/kinds/placement.hpp"

namespace skiff::registry {
namespace {

using api::quote;

const Path kSpec("spec");
constexpr size_t kMostRequests = 32, kMostAlternatives = 8, kMostSelectors = 32, kMostConsumers = 256, kMostDevices = 128;
constexpr size_t kMaxExpression = 10 * 1024, kMaxParameters = 10 * 1024, kMaxPoolName = 253, kMaxAttributeName = 32;
constexpr char kNotARequest[] =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

using RequestNames = std::map<std::string, std::set<std::string>, std::less<>>;  // of the claim, with their alternatives

RequestNames names_of(const api::ResourceClaimSpec& spec) {
  RequestNames names;
  if (!spec.devices) return names;
  for (const api::DeviceRequest& request : spec.devices->requests)
    for (auto& alternatives = names[request.name]; const api::DeviceSubRequest& one : request.firstAvailable)
      alternatives.insert(one.name);
  return names;
}

// Specs of claims and templates never change.
template <class Spec>
void check_frozen(const Spec& next, const Spec& old, FieldErrors& errors) {
  if (!(next == old)) errors.invalid(kSpec, json_of(api::type_of<Spec>(), &next), kImmutable);
}

void check_class_name(const std::string& name, const Path& path, FieldErrors& errors) {
  if (require(name, path, errors)) check_dns_subdomain(name, path, errors);
}

void check_selectors(const std::vector<api::DeviceSelector>& selectors, const Path& above, FieldErrors& errors) {
  if (selectors.size() > kMostSelectors) errors.too_many(above.child("selectors"), selectors.size(), kMostSelectors);
  for (size_t i = 0; i < selectors.size(); ++i) {
    const Path at = above.child("selectors", i);
    const Path cel = at.child("cel");
    if (!selectors[i].cel) errors.required(cel);
    else if (selectors[i].cel->expression.size() > kMaxExpression) errors.too_long(cel.child("expression"), kMaxExpression);
  }
}

void check_tolerations(const std::vector<api::DeviceToleration>& tolerations, const Path& above, FieldErrors& errors) {
  for (size_t i = 0; i < tolerations.size(); ++i) {
    const api::DeviceToleration& one = tolerations[i];
    const Path at = above.child("tolerations", i);
    if (!one.key.empty()) check_qualified_name(one.key, at.child("key"), errors);
    if (one.operator_ == "Exists" && !one.value.empty())
      errors.invalid(at.child("value"), quote(one.value), "must be empty for operator `Exists`");
    if (one.key.empty() && one.operator_ != "Exists") errors.required(at.child("key"));
    check_one_of(one.operator_, at.child("operator"), {"Equal", "Exists"}, errors);
    if (!one.effect.empty()) check_one_of(one.effect, at.child("effect"), {"NoExecute", "NoSchedule", "None"}, errors);
  }
}

void check_count(const std::string& mode, const std::optional<std::int64_t>& count, const Path& path, FieldErrors& errors) {
  const Path at = path.child("count");
  check_one_of(mode, path.child("allocationMode"), {"All", "ExactCount"}, errors);
  if (mode == "All" && count.value_or(0) != 0)
    errors.invalid(at, std::to_string(*count), "must not be specified when allocationMode is 'All'");
  if (mode == "ExactCount" && count.value_or(0) <= 0) errors.invalid(at, std::to_string(count.value_or(0)), kPositive);
}

// What an exact request and an alternative have in common.
template <class Request>
void check_wanted(const Request& request, const Path& path, FieldErrors& errors) {
  check_class_name(request.deviceClassName, path.child("deviceClassName"), errors);
  check_selectors(request.selectors, path, errors);
  check_count(request.allocationMode, request.count, path, errors);
  check_tolerations(request.tolerations, path, errors);
}

template <class Items>
void check_names(const Items& items, const Path& above, const char* field, size_t most, FieldErrors& errors) {
  if (items.size() > most) errors.too_many(above.child(field), items.size(), most);
  std::set<std::string_view> seen;
  for (size_t i = 0; i < items.size(); ++i) {
    const Path at = above.child(field, i);
    check_dns_label(items[i].name, at.child("name"), errors);
    if (!seen.insert(items[i].name).second) errors.duplicate(at.child("name"), quote(items[i].name));
  }
}

void check_request(const api::DeviceRequest& request, const Path& path, FieldErrors& errors) {
  bool alternatives = !request.firstAvailable.empty();
  if (!alternatives && !request.exactly)
    return errors.required(path, "exactly one of `exactly` or `firstAvailable` is required");
  if (alternatives && request.exactly)
    return errors.invalid(path, "null", "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set");
  if (request.exactly) return check_wanted(*request.exactly, path.child("exactly"), errors);
  check_names(request.firstAvailable, path, "firstAvailable", kMostAlternatives, errors);
  for (size_t i = 0; i < request.firstAvailable.size(); ++i)
    check_wanted(request.firstAvailable[i], path.child("firstAvailable", i), errors);
}

bool knows(const RequestNames& names, const std::string& wanted) {
  size_t slash = wanted.find('/');
  auto found = names.find(wanted.substr(0, slash));
  return found != names.end() && (slash == std::string::npos || found->second.contains(wanted.substr(slash + 1)));
}

void check_request_refs(const std::vector<std::string>& refs, const RequestNames& names, const Path& above,
                        FieldErrors& errors) {
  if (refs.size() > kMostRequests) errors.too_many(above.child("requests"), refs.size(), kMostRequests);
  std::set<std::string_view> seen;
  for (size_t i = 0; i < refs.size(); ++i) {
    const Path at = above.child("requests", i);
    if (!knows(names, refs[i])) errors.invalid(at, quote(refs[i]), kNotARequest);
    if (!seen.insert(refs[i]).second) errors.duplicate(at, quote(refs[i]));
  }
}

void check_attribute_name(const std::string& name, const Path& path, FieldErrors& errors) {
  size_t slash = name.find('/');
  if (name.empty()) return errors.required(path);
  if (slash == std::string::npos) return errors.invalid(path, quote(name), "must include a domain");
  check_dns_subdomain(name.substr(0, slash), path, errors);
  if (name.size() - slash - 1 > kMaxAttributeName) errors.too_long(path, kMaxAttributeName);
}

void check_configuration(const api::Box<api::OpaqueDeviceConfiguration>& opaque, const Path& path,
                         FieldErrors& errors) {
  const Path at = path.child("opaque");
  if (!opaque) return errors.required(at);
  check_csi_driver_name(opaque->driver, at.child("driver"), errors);
  const Path parameters = at.child("parameters");
  const std::string& json = opaque->parameters.json;
  if (json.empty() || json == "null") errors.required(parameters);
  else if (json.size() > kMaxParameters) errors.too_long(parameters, kMaxParameters);
  else if (json.front() != '{') errors.invalid(parameters, "<value omitted>", "must be a valid JSON object");
}

void check_claim(const api::ResourceClaimSpec& spec, const Path& path, FieldErrors& errors) {
  if (!spec.devices) return;
  const Path devices = path.child("devices");
  const api::DeviceClaim& claim = *spec.devices;
  RequestNames names = names_of(spec);
  check_names(claim.requests, devices, "requests", kMostRequests, errors);
  for (size_t i = 0; i < claim.requests.size(); ++i)
    check_request(claim.requests[i], devices.child("requests", i), errors);
  for (size_t i = 0; i < claim.constraints.size(); ++i) {
    const api::DeviceConstraint& one = claim.constraints[i];
    const Path at = devices.child("constraints", i);
    check_request_refs(one.requests, names, at, errors);
    if (!one.matchAttribute.empty()) check_attribute_name(one.matchAttribute, at.child("matchAttribute"), errors);
    else if (!one.distinctAttribute.empty())
      check_attribute_name(one.distinctAttribute, at.child("distinctAttribute"), errors);
    else
      errors.required(at, R"(exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set)");
  }
  for (size_t i = 0; i < claim.config.size(); ++i) {
    const Path at = devices.child("config", i);
    check_request_refs(claim.config[i].requests, names, at, errors);
    check_configuration(claim.config[i].opaque, at, errors);
  }
}

// ---- ResourceClaims

void validate_claim(const api::DynamicResourceClaim& claim, const api::DynamicResourceClaim* old, FieldErrors& errors) {
  if (old) return check_frozen(claim.spec, old->spec, errors);
  check_claim(claim.spec, kSpec, errors);
}

void validate_claim_status(const api::DynamicResourceClaim& next, const api::DynamicResourceClaim& old,
                           FieldErrors& errors) {
  const Path status("status");
  const Path reserved = status.child("reservedFor");
  if (next.status.reservedFor.size() > kMostConsumers)
    errors.too_many(reserved, next.status.reservedFor.size(), kMostConsumers);
  std::set<std::string_view> seen;
  for (size_t i = 0; i < next.status.reservedFor.size(); ++i) {
    const api::ResourceClaimConsumerReference& one = next.status.reservedFor[i];
    const Path at = status.child("reservedFor", i);
    require(one.resource, at.child("resource"), errors);
    require(one.name, at.child("name"), errors);
    if (require(one.uid, at.child("uid"), errors) && !seen.insert(one.uid).second) errors.duplicate(at, quote(one.uid));
  }
  if (!next.status.reservedFor.empty() && !next.status.allocation)
    errors.forbidden(reserved, "may not be specified when `allocated` is not set");
  if (old.status.allocation && next.status.allocation && !(*old.status.allocation == *next.status.allocation))
    errors.invalid(status.child("allocation"), json_of(api::type_of<api::AllocationResult>(), &*next.status.allocation),
                   kImmutable);
}

// ---- ResourceClaimTemplates

void validate_template(const api::ResourceClaimTemplate& one, const api::ResourceClaimTemplate* old, FieldErrors& errors) {
  if (old) return check_frozen(one.spec, old->spec, errors);
  const Path metadata = kSpec.child("metadata");
  check_labels(one.spec.metadata.labels, metadata.child("labels"), errors);
  check_annotations(one.spec.metadata.annotations, metadata.child("annotations"), errors);
  check_claim(one.spec.spec, kSpec.child("spec"), errors);
}

// ---- DeviceClasses

void validate_class(const api::DeviceClass& one, const api::DeviceClass*, FieldErrors& errors) {
  check_selectors(one.spec.selectors, kSpec, errors);
  for (size_t i = 0; i < one.spec.config.size(); ++i)
    check_configuration(one.spec.config[i].opaque, kSpec.child("config", i), errors);
  const Path extended = kSpec.child("extendedResourceName");
  if (!one.spec.extendedResourceName.empty() && !is_extended_resource(one.spec.extendedResourceName))
    errors.invalid(extended, quote(one.spec.extendedResourceName), "must be a valid extended resource name");
}

// ---- ResourceSlices

void check_pool(const api::ResourcePool& pool, FieldErrors& errors) {
  const Path at = kSpec.child("pool");
  const Path name = at.child("name");
  if (require(pool.name, name, errors)) {
    if (pool.name.size() > kMaxPoolName) errors.too_long(name, kMaxPoolName);
    for (size_t from = 0; from <= pool.name.size();) {
      size_t to = std::min(pool.name.find('/', from), pool.name.size());
      check_dns_subdomain(std::string_view(pool.name).substr(from, to - from), name, errors);
      from = to + 1;
    }
  }
  require_positive(pool.resourceSliceCount, at.child("resourceSliceCount"), errors);
  require_nonnegative(pool.generation, at.child("generation"), errors);
}

void validate_slice(const api::ResourceSlice& slice, const api::ResourceSlice* old, FieldErrors& errors) {
  const api::ResourceSliceSpec& spec = slice.spec;
  check_csi_driver_name(spec.driver, kSpec.child("driver"), errors);
  check_pool(spec.pool, errors);
  int places = !spec.nodeName.empty();
  places += spec.nodeSelector.has_value();
  places += spec.allNodes.value_or(false);
  places += spec.perDeviceNodeSelection.value_or(false);
  constexpr char kPlaces[] = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
  if (places == 0) errors.required(kSpec, kPlaces);
  if (places > 1) errors.invalid(kSpec, "\"\"", std::string(kPlaces) + ", but multiple fields are set");
  if (!spec.nodeName.empty()) check_dns_subdomain(spec.nodeName, kSpec.child("nodeName"), errors);
  check_names(spec.devices, kSpec, "devices", kMostDevices, errors);
  if (!old) return;
  require_same(spec.driver, old->spec.driver, kSpec.child("driver"), errors);
  const Path pool = kSpec.child("pool");
  require_same(spec.pool.name, old->spec.pool.name, pool.child("name"), errors);
  require_same(spec.nodeName, old->spec.nodeName, kSpec.child("nodeName"), errors);
}

}  // namespace

std::vector<Resource> dynamic_resources() {
  Rules<api::DynamicResourceClaim> claims;
  claims.validate = validate_claim;
  claims.validate_status = validate_claim_status;
  Rules<api::ResourceClaimTemplate> templates;
  templates.validate = validate_template;
  Rules<api::DeviceClass> classes;
  classes.validate = validate_class;
  classes.counts_generation = true;
  Rules<api::ResourceSlice> slices;
  slices.validate = validate_slice;
  slices.selectable_fields = [](const api::ResourceSlice& slice) {
    return std::map<std::string, std::string>{{"spec.nodeName", slice.spec.nodeName}, {"spec.driver", slice.spec.driver}};
  };
  return {define(claims), define(templates), define(classes), define(slices)};
}

}  // namespace skiff::registry
