#include "apiserver/api_service_registration.hpp"

#include <map>
#include <set>

#include "api/gen/apiextensions.hpp"
#include "apiserver/api_service_priorities.hpp"
#include "client/together.hpp"
#include "registry/custom_version.hpp"

namespace skiff::apiserver {

using api::APIService;

namespace {

constexpr char kOnStart[] = "onstart", kAlways[] = "true";

APIService local_service(const std::string& group, const std::string& version, const char* managed) {
  ApiServicePriority priority = local_priority(group, version);
  APIService service;
  service.metadata.name = version + "." + group;
  service.metadata.labels[kAutomanaged] = managed;
  service.spec.group = group;
  service.spec.version = version;
  service.spec.groupPriorityMinimum = priority.group;
  service.spec.versionPriority = priority.version;
  return service;
}

std::string managed(const APIService& service) {
  auto label = service.metadata.labels.find(kAutomanaged);
  return label == service.metadata.labels.end() ? "" : label->second;
}

Status missing_is_fine(Status done, Code code) {
  if (!done.ok() && done.error().code() == code) return ok();
  return done;
}

Status create(client::Client& client, APIService wanted) {
  Result<client::Ref<APIService>> made = client.create(std::move(wanted));
  return missing_is_fine(made.ok() ? ok() : Status(made.error()), Code::AlreadyExists);
}

Status correct(client::Client& client, const APIService& present, const APIService& wanted) {
  if (present.spec == wanted.spec && managed(present) == managed(wanted)) return ok();
  APIService next = present;
  next.spec = wanted.spec;
  next.metadata.labels[kAutomanaged] = managed(wanted);
  Result<client::Ref<APIService>> written = client.update(std::move(next));
  return written.ok() ? ok() : Status(written.error());
}

Status remove(client::Client& client, const APIService& present) {
  Result<client::AnyRef> gone = client.remove<APIService>(client::key_of(present), {.uid = present.metadata.uid});
  return missing_is_fine(gone.ok() ? ok() : Status(gone.error()), Code::NotFound);
}

}  // namespace

std::vector<APIService> built_in_api_services(const registry::Catalogue& catalogue) {
  std::set<std::pair<std::string, std::string>> versions;
  for (const registry::ServedKind* served : catalogue.served())
    if (registry::CustomVersion::of(*served->kind) == nullptr)
      versions.emplace(served->kind->group, served->kind->version);
  std::vector<APIService> services;
  for (const auto& [group, version] : versions)
    if (group != "apiregistration.k8s.io") services.push_back(local_service(group, version, kOnStart));
  return services;
}

Status register_built_in(client::Client& client, const registry::Catalogue& catalogue) {
  TRY_ASSIGN(std::vector<client::Ref<APIService>> all, client.list<APIService>());
  std::map<std::string, client::Ref<APIService>> present;
  for (const client::Ref<APIService>& one : all) present[one->metadata.name] = one;
  std::vector<client::Task> tasks;
  for (const APIService& wanted : built_in_api_services(catalogue)) {
    client::Ref<APIService> known = present[wanted.metadata.name];
    present.erase(wanted.metadata.name);
    if (!known) tasks.push_back([&client, wanted] { return create(client, wanted); });
    else if (!managed(*known).empty())
      tasks.push_back([&client, known, wanted] { return correct(client, *known, wanted); });
  }
  for (const auto& [name, one] : present)
    if (managed(*one) == kOnStart) tasks.push_back([&client, one = one] { return remove(client, *one); });
  return client::run_together(tasks);
}

std::vector<std::string> api_service_names(const api::CustomResourceDefinition& definition) {
  std::vector<std::string> names;
  for (const api::CustomResourceDefinitionVersion& version : definition.spec.versions)
    if (version.served) names.push_back(version.name + "." + definition.spec.group);
  return names;
}

std::optional<APIService> custom_api_service(
    const std::string& name, const std::vector<client::Ref<api::CustomResourceDefinition>>& definitions) {
  for (const auto& definition : definitions)
    for (const api::CustomResourceDefinitionVersion& version : definition->spec.versions)
      if (version.served && version.name + "." + definition->spec.group == name)
        return local_service(definition->spec.group, version.name, kAlways);
  return std::nullopt;
}

Status keep_registered(client::Client& client, const std::string& name, const std::optional<APIService>& wanted) {
  Result<client::Ref<APIService>> present = client.get<APIService>({"", name});
  if (!present.ok()) {
    if (present.error().code() != Code::NotFound) return std::move(present).error();
    return wanted ? create(client, *wanted) : ok();
  }
  const APIService& known = *present.value();
  if (wanted) return managed(known).empty() ? ok() : correct(client, known, *wanted);
  return managed(known) == kAlways ? remove(client, known) : ok();
}

}  // namespace skiff::apiserver
