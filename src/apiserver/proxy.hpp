#pragma once
// Any verb on .../pods/x/proxy/..., .../services/x/proxy/..., .../nodes/x/proxy/...: HTTP passed on to where the object
// serves (apimachinery/pkg/util/proxy.UpgradeAwareHandler).

#include <functional>
#include <string>

#include "apiserver/verbs.hpp"

namespace skiff::apiserver {

struct ProxyTarget {
  std::function<Result<UniqueFd>()> dial;
  std::string host;    // what is dialled: address and port
  bool https = false;  // whoever answers is believed, as kube-apiserver does
};

/// Names are "name", "name:port" or "scheme:name:port"; a Service is reached through one of its ready endpoints.
/// BadRequest, NotFound or Unavailable (no endpoints available for service "x").
Result<ProxyTarget> find_proxy_target(Call& call);

/// What the node itself answers on its kubelet's port (the default); nullopt: the request goes to another port of it.
Result<std::optional<Response>> node_answer(Call& call);

/// Passes the request on and the answer back as it comes, upgrades too. Links of HTML pages and redirects lead back
/// through the proxy.
Response proxy_request(const Call& call, ProxyTarget target);

}  // namespace skiff::apiserver
