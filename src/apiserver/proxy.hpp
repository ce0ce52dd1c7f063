#pragma once
// GET (or any verb) .../pods/x/proxy/..., .../services/x/proxy/..., .../nodes/x/proxy/...: HTTP passed on to
// where the object serves.

#include <functional>
#include <string>

#include "apiserver/verbs.hpp"

namespace skiff::apiserver {

struct ProxyTarget {
  std::function<Result<UniqueFd>()> dial;
  std::string host;  // for the Host header
  std::string path;  // with the query
};

/// Names are "name", "name:port" or "scheme:name:port" (plain http only); a Service is reached through one of
/// its ready endpoints. BadRequest, NotFound or Unavailable (no endpoints available for service "x").
Result<ProxyTarget> find_proxy_target(Call& call);

/// What the node itself answers on its kubelet's port (the default); nullopt: the request goes to another port of it.
Result<std::optional<Response>> node_answer(Call& call);

/// Passes the request on and the answer back, each whole. Upgrades are not passed on.
Response proxy_request(const Request& request, ProxyTarget target);

}  // namespace skiff::apiserver
