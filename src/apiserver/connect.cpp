// Connections (exec, attach, port-forward, proxy) pass admission as CONNECT with their options as the object.

#include <nlohmann/json.hpp>

#include "apiserver/verbs.hpp"

namespace skiff::apiserver {

using nlohmann::json;

namespace {

// The query of a connection as the options object that Kubernetes makes of it.
json options_of(const Call& call, const std::string& kind) {
  json options = {{"kind", kind}, {"apiVersion", "v1"}};
  const Request& request = call.request;
  if (call.info.subresource == "proxy") {
    if (!call.info.rest.empty()) options["path"] = call.info.rest;
    return options;
  }
  for (const char* flag : {"stdin", "stdout", "stderr", "tty"})
    if (is_true(request, flag)) options[flag] = true;
  if (std::string_view container = request.parameter("container"); !container.empty()) options["container"] = container;
  for (const char* list : {"command", "ports"}) {
    auto [begin, end] = request.query.equal_range(list);
    for (auto entry = begin; entry != end; ++entry) {
      if (std::string_view(list) == "ports") options[list].push_back(std::atoi(entry->second.c_str()));
      else options[list].push_back(entry->second);
    }
  }
  return options;
}

}  // namespace

Status admit_connect(Call& call) {
  std::string kind;
  for (const api::SubresourceInfo& known : call.resource.kind->subresources)
    if (known.name == call.info.subresource) kind = known.kind;
  return call.registry.admit_connect(call.resource, call.key(), call.info.subresource,
                                     {kind, options_of(call, kind).dump()}, call.context);
}

}  // namespace skiff::apiserver
