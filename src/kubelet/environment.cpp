#include "kubelet/environment.hpp"

#include <algorithm>
#include <cctype>

namespace skiff::kubelet {
namespace {

std::string upper_name(std::string name) {
  std::ranges::transform(name, name.begin(), [](unsigned char c) {
    return c == '-' || c == '.' ? '_' : static_cast<char>(std::toupper(c));
  });
  return name;
}

void add_service(const api::Service& service, Environment& environment) {
  std::string name = upper_name(service.metadata.name);
  const std::string& address = service.spec.clusterIP;
  const api::ServicePort& first = service.spec.ports.front();
  environment[name + "_SERVICE_HOST"] = address;
  environment[name + "_SERVICE_PORT"] = std::to_string(first.port);
  for (const api::ServicePort& port : service.spec.ports) {
    std::string number = std::to_string(port.port);
    std::string protocol = port.protocol.empty() ? "TCP" : port.protocol;
    std::string lower = protocol;
    std::ranges::transform(lower, lower.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    std::string url = fmt::format("{}://{}:{}", lower, address, number);
    if (!port.name.empty()) environment[name + "_SERVICE_PORT_" + upper_name(port.name)] = number;
    if (&port == &first) environment[name + "_PORT"] = url;
    std::string prefix = fmt::format("{}_PORT_{}_{}", name, number, protocol);
    environment[prefix] = url;
    environment[prefix + "_PROTO"] = lower;
    environment[prefix + "_PORT"] = number;
    environment[prefix + "_ADDR"] = address;
  }
}

/// A ConfigMap's or Secret's entries; nullopt when it is missing and may be.
template <class T>
Result<std::optional<Environment>> entries_of(client::Client& client, const client::ObjectKey& key,
                                              bool optional) {
  Result<client::Ref<T>> object = client.get<T>(key);
  if (!object.ok()) {
    bool missing = object.error().code() == Code::NotFound;
    if (missing && optional) return std::optional<Environment>();
    std::string_view kind = std::is_same_v<T, api::Secret> ? "secret" : "configmap";
    if (missing) return error(Code::NotFound, "{} \"{}\" not found", kind, key.name);
    return std::move(object).error();
  }
  Environment entries;
  for (const auto& [name, value] : object.value()->data) {
    if constexpr (std::is_same_v<T, api::Secret>)
      entries[name] = value.data;
    else
      entries[name] = value;
  }
  return std::optional<Environment>(std::move(entries));
}

Status add_from(const api::EnvFromSource& from, const std::string& namespace_, client::Client& client,
                Environment& environment) {
  std::optional<Environment> entries;
  if (from.configMapRef) {
    TRY_ASSIGN(entries, entries_of<api::ConfigMap>(client, {namespace_, from.configMapRef->name},
                                                   from.configMapRef->optional.value_or(false)));
  } else if (from.secretRef) {
    TRY_ASSIGN(entries, entries_of<api::Secret>(client, {namespace_, from.secretRef->name},
                                                from.secretRef->optional.value_or(false)));
  }
  if (!entries) return ok();
  for (const auto& [name, value] : *entries) environment[from.prefix + name] = value;
  return ok();
}

/// The value at `key` of a ConfigMap or Secret; nullopt when it is missing and may be.
template <class T>
Result<std::optional<std::string>> key_value(client::Client& client, const client::ObjectKey& object,
                                             const std::string& key, bool optional) {
  TRY_ASSIGN(std::optional<Environment> entries, entries_of<T>(client, object, optional));
  if (!entries) return std::optional<std::string>();
  if (auto found = entries->find(key); found != entries->end())
    return std::optional<std::string>(found->second);
  if (optional) return std::optional<std::string>();
  std::string_view kind = std::is_same_v<T, api::Secret> ? "Secret" : "ConfigMap";
  return error(Code::NotFound, "couldn't find key {} in {} {}", key, kind, object.str());
}

Result<std::optional<std::string>> value_from(const api::EnvVarSource& from, const FieldSource& source,
                                              const api::Container& own, client::Client& client) {
  const std::string& namespace_ = source.pod.metadata.namespace_;
  if (from.fieldRef) {
    TRY_ASSIGN(std::string value, field_value(source, from.fieldRef->fieldPath));
    return std::optional<std::string>(std::move(value));
  }
  if (from.resourceFieldRef) {
    const std::string& name = from.resourceFieldRef->containerName;
    const api::Container* container = name.empty() ? &own : find_container(source.pod, name);
    if (container == nullptr) return error(Code::Invalid, "container {} not found", name);
    TRY_ASSIGN(std::string value, resource_value(source, *container, *from.resourceFieldRef));
    return std::optional<std::string>(std::move(value));
  }
  if (from.configMapKeyRef)
    return key_value<api::ConfigMap>(client, {namespace_, from.configMapKeyRef->name},
                                     from.configMapKeyRef->key,
                                     from.configMapKeyRef->optional.value_or(false));
  if (from.secretKeyRef)
    return key_value<api::Secret>(client, {namespace_, from.secretKeyRef->name}, from.secretKeyRef->key,
                                  from.secretKeyRef->optional.value_or(false));
  return std::optional<std::string>();
}

/// The pod's own namespace when it wants service links, and always the API server's service.
Result<Environment> services_for(const api::Pod& pod, client::Client& client) {
  std::vector<client::Ref<api::Service>> services;
  if (pod.spec.enableServiceLinks.value_or(true)) {
    TRY_ASSIGN(services,
               client.list<api::Service>(
                   {.namespace_ = pod.metadata.namespace_, .label_selector = {}, .field_selector = {}}));
  }
  Result<client::Ref<api::Service>> master = client.get<api::Service>({"default", "kubernetes"});
  if (master.ok()) services.push_back(master.value());
  return service_environment(services);
}

}  // namespace

namespace {

/// Walks `text`: `plain` gets what stands for itself, `name` what stands between $( and ).
template <class Plain, class Name>
void walk(std::string_view text, Plain&& plain, Name&& name) {
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '$' || at + 1 == text.size()) {
      plain(text[at]);
    } else if (text[at + 1] == '$') {
      plain('$');
      ++at;
    } else if (size_t end = text.find(')', at); text[at + 1] == '(' && end != std::string_view::npos) {
      name(std::string(text.substr(at + 2, end - at - 2)));
      at = end;
    } else {
      plain('$');
    }
  }
}

}  // namespace

std::string expand(std::string_view text, const Environment& environment) {
  std::string out;
  walk(
      text, [&](char c) { out += c; },
      [&](const std::string& name) {
        auto found = environment.find(name);
        out += found == environment.end() ? "$(" + name + ")" : found->second;
      });
  return out;
}

std::set<std::string> references(std::string_view text) {
  std::set<std::string> names;
  walk(
      text, [](char) {}, [&](std::string name) { names.insert(std::move(name)); });
  return names;
}

Environment service_environment(const std::vector<client::Ref<api::Service>>& services) {
  Environment environment;
  for (const client::Ref<api::Service>& service : services) {
    const std::string& address = service->spec.clusterIP;
    if (address.empty() || address == "None" || service->spec.ports.empty()) continue;
    add_service(*service, environment);
  }
  return environment;
}

Result<Environment> make_environment(const FieldSource& source, const api::Container& container,
                                     client::Client& client) {
  TRY_ASSIGN(Environment services, services_for(source.pod, client));
  Environment environment;
  for (const api::EnvFromSource& from : container.envFrom)
    TRY(add_from(from, source.pod.metadata.namespace_, client, environment));
  // A reference sees what stands above it and the services.
  Environment visible = services;
  for (const auto& [name, value] : environment) visible[name] = value;
  for (const api::EnvVar& variable : container.env) {
    std::optional<std::string> value;
    if (variable.valueFrom) {
      TRY_ASSIGN(value, value_from(*variable.valueFrom, source, container, client));
      if (!value) continue;
    } else {
      value = expand(variable.value, visible);
    }
    environment[variable.name] = visible[variable.name] = *value;
  }
  for (const auto& [name, value] : services) environment.emplace(name, value);
  return environment;
}

}  // namespace skiff::kubelet
