#pragma once
// A container's environment: service variables, envFrom, env with $(VAR) references.

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "api/gen/core.hpp"
#include "api/gen/service.hpp"
#include "client/client.hpp"
#include "kubelet/fields.hpp"

namespace skiff::kubelet {

using Environment = std::map<std::string, std::string>;

/// Replaces $(NAME) by its value and $$ by $; an unknown name stays as it is written.
std::string expand(std::string_view text, const Environment& environment);

/// The names that `text` refers to as $(NAME), each once and sorted.
std::set<std::string> references(std::string_view text);

/// KUBERNETES_SERVICE_HOST, REDIS_PORT_6379_TCP_ADDR, ... for services with an address.
Environment service_environment(const std::vector<client::Ref<api::Service>>& services);

/// What a container's process gets. An error's message is what the container waits with
/// (CreateContainerConfigError): `configmap "x" not found`.
Result<Environment> make_environment(const FieldSource& source, const api::Container& container,
                                     client::Client& client);

}  // namespace skiff::kubelet
