// APIServices: who serves a version of a group (kube-aggregator/pkg/registry/apiservice and .../validation).

#include "api/gen/apiregistration.hpp"
#include "api/names.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"

namespace skiff::registry {
namespace {

using api::APIService;

constexpr std::int32_t kMaxGroupPriority = 20000, kMaxVersionPriority = 1000, kMaxPort = 65535;

Status prepare_create(APIService& service, StrategyContext& context) {
  service.status = {};
  if (service.spec.service) return ok();
  api::APIServiceCondition& here = service.status.conditions.emplace_back();
  here.type = "Available";
  here.status = "True";
  here.reason = "Local";
  here.message = "Local APIServices are always available";
  here.lastTransitionTime = api::Time::from(context.now);
  return ok();
}

Status prepare_update(APIService& next, const APIService& old, StrategyContext&) {
  next.status = old.status;
  return ok();
}

Status prepare_status_update(APIService& next, const APIService& old, StrategyContext&) {
  next.spec = old.spec;
  next.metadata.labels = old.metadata.labels;
  next.metadata.annotations = old.metadata.annotations;
  next.metadata.finalizers = old.metadata.finalizers;
  next.metadata.ownerReferences = old.metadata.ownerReferences;
  return ok();
}

void validate_names(const APIService& service, api::FieldErrors& errors) {
  const auto& [name, spec] = std::tie(service.metadata.name, service.spec);
  std::string wanted = spec.version + "." + spec.group;
  if (name != wanted)
    errors.invalid("metadata.name", api::quote(name),
                   "must be `spec.version+\".\"+spec.group`: " + api::quote(wanted));
  if (spec.group.empty() && spec.version != "v1")
    errors.required("spec.group", "only v1 may have an empty group and it better be legacy kube");
  if (!spec.group.empty())
    for (const std::string& problem : api::dns1123_subdomain_problems(spec.group))
      errors.invalid("spec.group", api::quote(spec.group), problem);
  for (const std::string& problem : api::dns1035_label_problems(spec.version))
    errors.invalid("spec.version", api::quote(spec.version), problem);
}

void validate_local(const api::APIServiceSpec& spec, api::FieldErrors& errors) {
  if (!spec.caBundle.data.empty())
    errors.invalid("spec.caBundle", api::quote(fmt::format("{} bytes", spec.caBundle.data.size())),
                   "local APIServices may not have a caBundle");
  if (spec.insecureSkipTLSVerify)
    errors.invalid("spec.insecureSkipTLSVerify", "true", "local APIServices may not have insecureSkipTLSVerify");
}

void validate_remote(const api::APIServiceSpec& spec, api::FieldErrors& errors) {
  if (spec.service->namespace_.empty()) errors.required("spec.service.namespace");
  if (spec.service->name.empty()) errors.required("spec.service.name");
  std::int32_t port = spec.service->port.value_or(443);
  if (port < 1 || port > kMaxPort)
    errors.invalid("spec.service.port", std::to_string(port), "port is not valid: must be between 1 and 65535, inclusive");
  if (spec.insecureSkipTLSVerify && !spec.caBundle.data.empty())
    errors.invalid("spec.insecureSkipTLSVerify", "true", "may not be true if caBundle is present");
}

void validate(const APIService& service, const APIService*, api::FieldErrors& errors) {
  const api::APIServiceSpec& spec = service.spec;
  validate_names(service, errors);
  if (spec.groupPriorityMinimum <= 0 || spec.groupPriorityMinimum > kMaxGroupPriority)
    errors.invalid("spec.groupPriorityMinimum", std::to_string(spec.groupPriorityMinimum),
                   "must be positive and less than 20000");
  if (spec.versionPriority <= 0 || spec.versionPriority > kMaxVersionPriority)
    errors.invalid("spec.versionPriority", std::to_string(spec.versionPriority),
                   "must be positive and less than 1000");
  if (spec.service) validate_remote(spec, errors);
  else validate_local(spec, errors);
}

// A version and a group, of which the group of the core is empty: "v1." is a name.
std::vector<std::string> name_problems(std::string_view name) { return api::path_segment_problems(name); }

}  // namespace

Resource api_services() {
  return define<APIService>({.prepare_create = prepare_create,
                             .prepare_update = prepare_update,
                             .prepare_status_update = prepare_status_update,
                             .validate = validate,
                             .name_problems = name_problems});
}

}  // namespace skiff::registry
