#pragma once
// Requests passed on to a backend in the name of their user.

#include "apiserver/backend.hpp"
#include "registry/authorizer.hpp"

namespace skiff::apiserver {

/// 503 when the backend is not available. Every answer is passed on as it comes, so watches run; after an upgrade
/// (exec and the like) the two connections are one.
Response pass_to_backend(const Request& request, const registry::User& user, std::shared_ptr<const Backend> backend,
                         std::shared_ptr<const BackendCaller> caller);

/// The request as the backend gets it: neither credentials nor impersonation, but who asks.
std::string backend_request(const Request& request, const registry::User& user, const Backend& backend);

}  // namespace skiff::apiserver
