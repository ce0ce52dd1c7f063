#pragma once
// Who asks: client certificates, static bearer tokens, service-account tokens.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apiserver/message.hpp"
#include "apiserver/tokens.hpp"
#include "base/error.hpp"
#include "registry/authorizer.hpp"

namespace skiff::client {
class Client;
}

namespace skiff::apiserver {

using registry::User;

struct Authenticator {
  std::map<std::string, User> tokens;  // static bearer tokens
  const TokenSigner* signer = nullptr;
  client::Client* cluster = nullptr;  // asked whether a token's service account and pod still exist
  Clock* clock = nullptr;

  /// nullopt: no credentials were shown. Unauthorized: they were, and are no good.
  Result<std::optional<User>> authenticate(const Request& request) const;
};

/// The bearer token of a request, from its Authorization header or, as browsers must send it, from the
/// WebSocket protocol list ("base64url.bearer.authorization.k8s.io.<token>"); empty when there is none.
std::string bearer_token(const Request& request);

}  // namespace skiff::apiserver
