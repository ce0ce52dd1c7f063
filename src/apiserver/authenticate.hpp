#pragma once
// Who asks: front proxies, client certificates, static bearer tokens, service-account tokens, bootstrap tokens.

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

struct Authenticator final : registry::TokenAuthenticator {
  std::map<std::string, User> tokens;  // static bearer tokens
  const TokenSigner* signer = nullptr;
  client::Client* cluster = nullptr;  // asked for what tokens are bound to, and for bootstrap tokens
  Clock* clock = nullptr;
  /// Names of client certificates of the front-proxy authority that may speak for others; empty: all.
  std::vector<std::string> front_proxies = {"front-proxy-client"};

  /// nullopt: no credentials were shown. Unauthorized: they were, and are no good.
  Result<std::optional<User>> authenticate(const Request& request) const;
  Result<registry::TokenIdentity> authenticate_token(const std::string& token,
                                                     const std::vector<std::string>& audiences) const override;

 private:
  Result<std::optional<User>> by_certificate(const Request& request) const;
};

/// The bearer token of a request, from its Authorization header or, as browsers must send it, from the
/// WebSocket protocol list ("base64url.bearer.authorization.k8s.io.<token>"); empty when there is none.
std::string bearer_token(const Request& request);

/// The values of all headers that begin with `prefix`, by the rest of their names in lower case with '%' escapes
/// undone (Impersonate-Extra-*, X-Remote-Extra-*).
std::map<std::string, std::vector<std::string>> extra_headers(const Request& request, std::string_view prefix);

}  // namespace skiff::apiserver
