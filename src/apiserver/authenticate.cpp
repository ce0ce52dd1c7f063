#include "apiserver/authenticate.hpp"

#include <strings.h>

#include <algorithm>

#include "apiserver/bearer_tokens.hpp"
#include "base/encoding.hpp"
#include "client/client.hpp"

namespace skiff::apiserver {

using registry::TokenIdentity;

namespace {

constexpr std::string_view kWebSocketBearer = "base64url.bearer.authorization.k8s.io.";

Error unauthorized(std::string why) { return Error(Code::Unauthorized, std::move(why)); }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

std::string unescaped(std::string_view header) {
  std::string text(header), key;
  std::ranges::transform(text, text.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  for (size_t i = 0; i < text.size(); ++i) {
    bool escape = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0;
    key.push_back(escape ? static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])) : text[i]);
    if (escape) i += 2;
  }
  return key;
}

// What a front proxy says of the one it speaks for (--requestheader-* as kubeadm sets them).
std::optional<User> proxied_user(const Request& request) {
  User user;
  user.name = request.header("X-Remote-User");
  if (user.name.empty()) return std::nullopt;
  user.uid = request.header("X-Remote-Uid");
  auto [begin, end] = request.headers.equal_range("X-Remote-Group");
  for (auto header = begin; header != end; ++header) user.groups.push_back(header->second);
  user.extra = extra_headers(request, "X-Remote-Extra-");
  if (user.name != "system:anonymous" && !user.in_group("system:authenticated"))
    user.groups.emplace_back("system:authenticated");
  return user;
}

}  // namespace

std::map<std::string, std::vector<std::string>> extra_headers(const Request& request, std::string_view prefix) {
  std::map<std::string, std::vector<std::string>> extra;
  for (auto header = request.headers.lower_bound(prefix); header != request.headers.end(); ++header) {
    std::string_view name = header->first;
    if (name.size() <= prefix.size() || ::strncasecmp(name.data(), prefix.data(), prefix.size()) != 0) break;
    extra[unescaped(name.substr(prefix.size()))].push_back(header->second);
  }
  return extra;
}

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

Result<std::optional<User>> Authenticator::by_certificate(const Request& request) const {
  const Peer& peer = request.peer;
  if (!peer.front_proxy.empty()) {
    bool known = front_proxies.empty() || std::ranges::find(front_proxies, peer.front_proxy) != front_proxies.end();
    std::optional<User> user = known ? proxied_user(request) : std::nullopt;
    if (!user) return unauthorized("x509: certificate signed by unknown authority");
    return user;
  }
  if (!peer.identity) return std::optional<User>();
  User user{peer.identity->user, peer.identity->uid, peer.identity->groups, {}};
  user.groups.emplace_back("system:authenticated");
  if (!peer.identity->fingerprint.empty())
    user.extra["authentication.kubernetes.io/credential-id"] = {"X509SHA256=" + peer.identity->fingerprint};
  return std::optional<User>(std::move(user));
}

Result<std::optional<User>> Authenticator::authenticate(const Request& request) const {
  TRY_ASSIGN(std::optional<User> user, by_certificate(request));
  if (user) return user;
  std::string token = bearer_token(request);
  if (token.empty()) {
    if (!request.peer.rejection.empty()) return unauthorized(request.peer.rejection);
    if (!request.header("Authorization").empty()) return unauthorized("unknown authorization scheme");
    return std::optional<User>();
  }
  TRY_ASSIGN(TokenIdentity identity, authenticate_token(token, {}));
  return std::optional<User>(std::move(identity.user));
}

Result<TokenIdentity> Authenticator::authenticate_token(const std::string& token,
                                                        const std::vector<std::string>& audiences) const {
  const std::vector<std::string> ours{std::string(kTokenIssuer)};
  if (auto known = tokens.find(token); known != tokens.end())
    return TokenIdentity{known->second, audiences.empty() ? ours : audiences};
  if (signer == nullptr) return unauthorized("invalid bearer token");
  WallTime now = clock->wall_now();
  if (is_bootstrap_token(token)) {
    TRY_ASSIGN(User user, bootstrap_token_user(token, *cluster, now));
    return TokenIdentity{std::move(user), audiences.empty() ? ours : audiences};
  }
  Result<TokenClaims> claims = signer->verify(token, now, audiences);
  if (!claims.ok()) return error(Code::Unauthorized, "[invalid bearer token, {}]", claims.error().message());
  const TokenClaims& read = claims.value();
  Result<User> user =
      read.legacy ? secret_token_user(read, token, *cluster) : service_account_of(read, *cluster, now);
  if (!user.ok()) return error(Code::Unauthorized, "[invalid bearer token, {}]", user.error().message());
  TokenIdentity identity{std::move(user).value(), {}};
  const std::vector<std::string>& wanted = audiences.empty() ? ours : audiences;
  for (const std::string& audience : wanted)
    if (std::ranges::find(read.audiences, audience) != read.audiences.end()) identity.audiences.push_back(audience);
  return identity;
}

}  // namespace skiff::apiserver
