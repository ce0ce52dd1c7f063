#pragma once
// Service-account tokens: JWTs signed with ES256, with the claims that Kubernetes writes.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"

namespace skiff::apiserver {

constexpr std::string_view kTokenIssuer = "https://kubernetes.default.svc.cluster.local";

/// An object that a token is bound to; an empty uid is left out.
struct BoundObject {
  std::string name;
  std::string uid;
  bool operator==(const BoundObject&) const = default;
};

struct TokenClaims {
  std::string token_namespace;
  BoundObject service_account;
  std::optional<BoundObject> pod;
  std::optional<BoundObject> node;
  std::optional<BoundObject> secret;
  std::vector<std::string> audiences;
  std::string id;  // jti
  WallTime issued;
  WallTime expires;
  std::optional<std::int64_t> warn_after = {};  // unix seconds: used later than this, its holder should have renewed it
  bool legacy = false;  // kept in `secret`, without an end

  /// "system:serviceaccount:<namespace>:<name>"
  std::string subject() const;
};

/// Signs and checks tokens with one P-256 key. Immutable after creation; any thread.
class TokenSigner {
 public:
  static Result<std::unique_ptr<TokenSigner>> create(const std::string& key_pem);
  ~TokenSigner();

  Result<std::string> sign(const TokenClaims& claims) const;

  /// A token without an end for a Secret of type kubernetes.io/service-account-token.
  Result<std::string> sign_legacy(const TokenClaims& claims) const;

  /// Unauthorized, with a text that says why, when the token is malformed, not signed by this key, from
  /// another issuer, expired at `now`, not valid yet, or for none of `audiences` (the API server's own when
  /// empty).
  Result<TokenClaims> verify(std::string_view token, WallTime now,
                             const std::vector<std::string>& audiences = {}) const;

  /// The public key as a JSON Web Key Set (/openid/v1/jwks).
  std::string jwks() const;
  const std::string& key_id() const { return key_id_; }

 private:
  Result<std::string> sign_text(const std::string& payload) const;
  struct Key;
  explicit TokenSigner(std::unique_ptr<Key> key);
  std::unique_ptr<Key> key_;
  std::string key_id_;
};

}  // namespace skiff::apiserver
