#include "apiserver/authenticate.hpp"

#include <strings.h>

#include "api/gen/core.hpp"
#include "api/gen/pod.hpp"
#include "base/encoding.hpp"
#include "client/client.hpp"

namespace skiff::apiserver {

namespace {

constexpr std::string_view kWebSocketBearer = "base64url.bearer.authorization.k8s.io.";

User service_account_user(const TokenClaims& claims) {
  return {
      claims.subject(),
      claims.service_account.uid,
      {"system:serviceaccounts", "system:serviceaccounts:" + claims.token_namespace, "system:authenticated"},
      {}};
}

Error unauthorized(std::string why) { return Error(Code::Unauthorized, std::move(why)); }

template <class T>
Status still_exists(client::Client& cluster, const client::ObjectKey& key, const std::string& uid) {
  Result<client::Ref<T>> found = cluster.get<T>(key);
  if (!found.ok() || (!uid.empty() && found.value()->metadata.uid != uid))
    return unauthorized("the object that the token is bound to is gone: " + key.str());
  return ok();
}

}  // namespace

std::string bearer_token(const Request& request) {
  std::string_view header = request.header("Authorization");
  constexpr std::string_view kBearer = "Bearer ";
  if (header.size() > kBearer.size() && ::strncasecmp(header.data(), kBearer.data(), kBearer.size()) == 0) {
    header.remove_prefix(header.find_first_not_of(' ', kBearer.size()) == header.npos
                             ? header.size()
                             : header.find_first_not_of(' ', kBearer.size()));
    return std::string(header);
  }
  for (std::string item : split(request.header("Sec-WebSocket-Protocol"), ',')) {
    item.erase(0, item.find_first_not_of(' '));
    if (!item.starts_with(kWebSocketBearer)) continue;
    item.erase(0, kWebSocketBearer.size());
    item.erase(item.find_last_not_of(" =") + 1);
    return base64url_decode(item).value_or("");
  }
  return "";
}

Result<std::optional<User>> Authenticator::authenticate(const Request& request) const {
  if (!request.peer.rejection.empty()) return unauthorized(request.peer.rejection);
  if (request.peer.identity) {
    User user{request.peer.identity->user, "", request.peer.identity->groups, {}};
    user.groups.emplace_back("system:authenticated");
    return std::optional<User>(std::move(user));
  }
  std::string token = bearer_token(request);
  if (token.empty()) {
    if (!request.header("Authorization").empty()) return unauthorized("unknown authorization scheme");
    return std::optional<User>();
  }
  if (auto known = tokens.find(token); known != tokens.end()) return std::optional<User>(known->second);
  if (signer == nullptr) return unauthorized("unknown bearer token");
  TRY_ASSIGN(TokenClaims claims, signer->verify(token, clock->wall_now()));
  TRY(still_exists<api::ServiceAccount>(*cluster, {claims.token_namespace, claims.service_account.name},
                                        claims.service_account.uid));
  if (claims.pod)
    TRY(still_exists<api::Pod>(*cluster, {claims.token_namespace, claims.pod->name}, claims.pod->uid));
  return std::optional<User>(service_account_user(claims));
}

}  // namespace skiff::apiserver
