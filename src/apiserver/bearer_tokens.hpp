#pragma once
// Tokens that stand for objects of the cluster.

#include <string>
#include <vector>

#include "apiserver/tokens.hpp"
#include "client/client.hpp"
#include "registry/authorizer.hpp"

namespace skiff::apiserver {

/// The service account whose token these claims are from; Unauthorized unless all that the token is bound to exists
/// still, under the same UIDs.
Result<registry::User> service_account_of(const TokenClaims& claims, client::Client& cluster, WallTime now);

/// The same of a token without an end that is kept in a Secret: `token` must be what the Secret holds.
Result<registry::User> secret_token_user(const TokenClaims& claims, const std::string& token, client::Client& cluster);

/// "abcdef.0123456789abcdef"
bool is_bootstrap_token(std::string_view token);
Result<registry::User> bootstrap_token_user(const std::string& token, client::Client& cluster, WallTime now);

}  // namespace skiff::apiserver
