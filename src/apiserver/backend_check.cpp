#include "apiserver/backend_check.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/gen/core.hpp"
#include "api/gen/service.hpp"
#include "api/json.hpp"
#include "api/status.hpp"

namespace skiff::apiserver {

using Json = nlohmann::ordered_json;

namespace {

constexpr Duration kPatience = 5s;

api::APIServiceCondition available(const char* status, const char* reason, std::string message) {
  api::APIServiceCondition condition;
  condition.type = "Available";
  condition.status = status;
  condition.reason = reason;
  condition.message = std::move(message);
  return condition;
}

bool has_address(const api::Endpoints& endpoints, const std::string& port_name) {
  return std::ranges::any_of(endpoints.subsets, [&](const api::EndpointSubset& subset) {
    return !subset.addresses.empty() &&
           std::ranges::any_of(subset.ports, [&](const api::EndpointPort& port) { return port.name == port_name; });
  });
}

Json response_kind(const Json& resource, const Backend& backend) {
  auto text = [&](const char* key, const std::string& otherwise) {
    std::string value = resource.value(key, "");
    return value.empty() ? otherwise : value;
  };
  return {{"group", text("group", backend.group)},
          {"version", text("version", backend.version)},
          {"kind", resource.value("kind", "")}};
}

Json entry_of(const Json& resource, const std::string& name, const Backend& backend) {
  Json entry = {{"resource", name},
                {"responseKind", response_kind(resource, backend)},
                {"scope", resource.value("namespaced", false) ? "Namespaced" : "Cluster"},
                {"singularResource", resource.value("singularName", "")},
                {"verbs", resource.value("verbs", Json::array())}};
  for (const char* key : {"shortNames", "categories"})
    if (auto found = resource.find(key); found != resource.end()) entry[key] = *found;
  return entry;
}

std::string openapi_url(const BackendCaller& caller, const Backend& backend) {
  Result<Reply> index = caller.get(backend, "/openapi/v3", kPatience);
  if (!index.ok() || index.value().status != 200) return "";
  Json document = Json::parse(*index.value().body, nullptr, false);
  Json::json_pointer where("/paths/apis~1" + backend.group + "~1" + backend.version + "/serverRelativeURL");
  if (document.is_discarded() || !document.contains(where) || !document[where].is_string()) return "";
  return document[where].get<std::string>();
}

}  // namespace

api::APIServiceCondition locally_available() {
  return available("True", "Local", "Local APIServices are always available");
}

bool is_available(const api::APIService& service) {
  return std::ranges::any_of(service.status.conditions, [](const api::APIServiceCondition& condition) {
    return condition.type == "Available" && condition.status == "True";
  });
}

void set_condition(api::APIService& service, api::APIServiceCondition condition, api::Time now) {
  auto& all = service.status.conditions;
  auto known = std::ranges::find(all, condition.type, &api::APIServiceCondition::type);
  bool same = known != all.end() && known->status == condition.status;
  condition.lastTransitionTime = same ? known->lastTransitionTime : now;
  if (known == all.end()) all.push_back(std::move(condition));
  else *known = std::move(condition);
}

std::optional<api::APIServiceCondition> service_problem(const Backend& backend, const api::Service* service,
                                                        const api::Endpoints* endpoints) {
  std::string name = fmt::format("service/{} in {}", backend.service.name, api::quote(backend.service.namespace_));
  if (service == nullptr) return available("False", "ServiceNotFound", name + " is not present");
  if (service->spec.type != "ClusterIP") return std::nullopt;
  auto port = std::ranges::find(service->spec.ports, backend.port, &api::ServicePort::port);
  if (port == service->spec.ports.end())
    return available("False", "ServicePortError", fmt::format("{} is not listening on port {}", name, backend.port));
  if (endpoints == nullptr) return available("False", "EndpointsNotFound", "cannot find endpoints for " + name);
  if (!has_address(*endpoints, port->name))
    return available("False", "MissingEndpoints",
                     fmt::format("endpoints for {} have no addresses with port name {}", name, api::quote(port->name)));
  return std::nullopt;
}

BackendState ask_backend(const BackendCaller& caller, const Backend& backend) {
  std::string url = fmt::format("https://{}:{}{}", backend.host(), backend.port, backend.path());
  auto failed = [&](const std::string& why) {
    return BackendState{available("False", "FailedDiscoveryCheck",
                                  fmt::format("failing or missing response from {}: {}", url, why)),
                        nullptr};
  };
  Result<Reply> answer = caller.get(backend, backend.path(), kPatience);
  if (!answer.ok()) return failed(fmt::format("Get {}: {}", api::quote(url), answer.error().message()));
  int status = answer.value().status;
  if (status < 200 || status > 299) return failed(fmt::format("bad status from {}: {}", url, status));
  auto documents = std::make_shared<RemoteDocuments>();
  Result<std::string> entries = aggregated_entries(*answer.value().body, backend);
  documents->resources = entries.ok() ? std::move(entries).value() : "[]";
  documents->openapi_url = openapi_url(caller, backend);
  return {available("True", "Passed", "all checks passed"), std::move(documents)};
}

Result<std::string> aggregated_entries(const std::string& resource_list, const Backend& backend) {
  Json list = Json::parse(resource_list, nullptr, false);
  if (list.is_discarded() || !list.is_object() || !list["resources"].is_array())
    return Error(Code::Invalid, "not an APIResourceList");
  Json entries = Json::array();
  auto named = [&](const std::string& name) {
    return std::ranges::find_if(entries, [&](const Json& entry) { return entry["resource"] == name; });
  };
  try {
    for (const Json& resource : list["resources"]) {
      std::string name = resource.value("name", "");
      size_t slash = name.find('/');
      if (slash == name.npos) {
        entries.push_back(entry_of(resource, name, backend));
        continue;
      }
      auto parent = named(name.substr(0, slash));
      if (parent == entries.end()) continue;
      (*parent)["subresources"].push_back({{"subresource", name.substr(slash + 1)},
                                           {"responseKind", response_kind(resource, backend)},
                                           {"verbs", resource.value("verbs", Json::array())}});
    }
  } catch (const Json::exception& failure) {
    return error(Code::Invalid, "not an APIResourceList: {}", failure.what());
  }
  return entries.dump();
}

}  // namespace skiff::apiserver
