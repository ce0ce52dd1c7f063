#pragma once
// Acting as somebody else (headers Impersonate-*).

#include "apiserver/message.hpp"
#include "base/error.hpp"
#include "registry/authorizer.hpp"

namespace skiff::apiserver {

/// The user to act as: `user` itself unless the request asks for another whom it may impersonate. Forbidden in
/// kube-apiserver's words; Internal when a group is asked for without a user.
Result<registry::User> impersonate(const Request& request, registry::User user,
                                   const registry::Authorizer& authorizer);

}  // namespace skiff::apiserver
