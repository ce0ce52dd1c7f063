#include "apiserver/bearer_tokens.hpp"

#include <algorithm>
#include <optional>

#include "api/gen/core.hpp"
#include "api/gen/nodes.hpp"
#include "api/gen/pod.hpp"
#include "base/encoding.hpp"

namespace skiff::apiserver {

using client::Ref;
using registry::User;

namespace {

constexpr auto kGoneGrace = std::chrono::seconds(60);  // a token outlives its pod's end by this
constexpr char kBootstrapType[] = "bootstrap.kubernetes.io/token";
constexpr std::string_view kBootstrapGroup = "system:bootstrappers:";

Error refused(std::string why) { return Error(Code::Unauthorized, std::move(why)); }

// Its object must be there under the UID of the claims, and not be long gone.
template <class T>
Status still_bound(client::Client& cluster, const client::ObjectKey& key, const std::string& uid, WallTime now) {
  Result<Ref<T>> found = cluster.get<T>(key);
  if (!found.ok() || found.value()->metadata.uid != uid) return refused("service account token has been invalidated");
  const api::Time& deleted = found.value()->metadata.deletionTimestamp;
  if (deleted && deleted.wall() + kGoneGrace < now) return refused("service account token has been invalidated");
  return ok();
}

Status check_account(const TokenClaims& claims, client::Client& cluster, WallTime now) {
  client::ObjectKey key{claims.token_namespace, claims.service_account.name};
  Result<Ref<api::ServiceAccount>> account = cluster.get<api::ServiceAccount>(key);
  if (!account.ok()) return refused(account.error().message());
  const api::ObjectMeta& metadata = account.value()->metadata;
  if (metadata.deletionTimestamp && metadata.deletionTimestamp.wall() + kGoneGrace < now)
    return refused("service account " + key.str() + " has been deleted");
  if (metadata.uid != claims.service_account.uid)
    return error(Code::Unauthorized, "service account UID ({}) does not match claim ({})", metadata.uid,
                 claims.service_account.uid);
  return ok();
}

User account_user(const TokenClaims& claims) {
  return {claims.subject(),
          claims.service_account.uid,
          {"system:serviceaccounts", "system:serviceaccounts:" + claims.token_namespace, "system:authenticated"},
          {}};
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    difference = static_cast<unsigned char>(difference | (a[i] ^ b[i]));
  return difference == 0;
}

std::string data_of(const api::Secret& secret, const char* key) {
  auto found = secret.data.find(key);
  return found == secret.data.end() ? "" : found->second.data;
}

bool is_bootstrap_group(std::string_view group) {
  auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return group.starts_with(kBootstrapGroup) && group.size() > kBootstrapGroup.size() &&
         group.size() <= kBootstrapGroup.size() + 256 && plain(group.back()) &&
         std::ranges::all_of(group.substr(kBootstrapGroup.size()),
                             [&](char c) { return plain(c) || c == ':' || c == '-'; });
}

Status check_bootstrap_secret(const api::Secret& secret, const std::string& id, const std::string& key, WallTime now) {
  if (secret.metadata.deletionTimestamp) return refused("bootstrap token is being deleted");
  if (secret.type != kBootstrapType) return refused("bootstrap token Secret has another type");
  if (!equal_in_constant_time(data_of(secret, "token-secret"), key)) return refused("bootstrap token does not match");
  if (data_of(secret, "token-id") != id) return refused("bootstrap token has another id");
  if (std::string expiration = data_of(secret, "expiration"); !expiration.empty()) {
    Result<api::Time> end = api::Time::parse(expiration);
    if (!end.ok() || end.value().wall() < now) return refused("bootstrap token has expired");
  }
  if (data_of(secret, "usage-bootstrap-authentication") != "true")
    return refused("bootstrap token is not for authentication");
  return ok();
}

}  // namespace

Result<User> service_account_of(const TokenClaims& claims, client::Client& cluster, WallTime now) {
  TRY(check_account(claims, cluster, now));
  User user = account_user(claims);
  if (!claims.id.empty()) user.extra["authentication.kubernetes.io/credential-id"] = {"JTI=" + claims.id};
  if (claims.secret)
    TRY(still_bound<api::Secret>(cluster, {claims.token_namespace, claims.secret->name}, claims.secret->uid, now));
  if (claims.pod) {
    TRY(still_bound<api::Pod>(cluster, {claims.token_namespace, claims.pod->name}, claims.pod->uid, now));
    user.extra["authentication.kubernetes.io/pod-name"] = {claims.pod->name};
    user.extra["authentication.kubernetes.io/pod-uid"] = {claims.pod->uid};
  }
  if (claims.node) {
    // That of a pod is only told: the pod's own life decides.
    if (!claims.pod) TRY(still_bound<api::Node>(cluster, {"", claims.node->name}, claims.node->uid, now));
    user.extra["authentication.kubernetes.io/node-name"] = {claims.node->name};
    if (!claims.node->uid.empty()) user.extra["authentication.kubernetes.io/node-uid"] = {claims.node->uid};
  }
  return user;
}

Result<User> secret_token_user(const TokenClaims& claims, const std::string& token, client::Client& cluster) {
  if (!claims.secret) return refused("token is of no Secret");
  Result<Ref<api::Secret>> secret = cluster.get<api::Secret>({claims.token_namespace, claims.secret->name});
  if (!secret.ok() || secret.value()->metadata.deletionTimestamp) return refused("token has been invalidated");
  if (!equal_in_constant_time(data_of(*secret.value(), "token"), token))
    return refused("token does not match server's copy");
  TRY(check_account(claims, cluster, WallTime::max()));
  return account_user(claims);
}

bool is_bootstrap_token(std::string_view token) {
  if (token.size() != 23 || token[6] != '.') return false;
  return std::ranges::all_of(
      token, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.'; });
}

Result<User> bootstrap_token_user(const std::string& token, client::Client& cluster, WallTime now) {
  std::string id = token.substr(0, 6);
  Result<Ref<api::Secret>> secret = cluster.get<api::Secret>({"kube-system", "bootstrap-token-" + id});
  if (!secret.ok()) return refused("unknown bootstrap token");
  TRY(check_bootstrap_secret(*secret.value(), id, token.substr(7), now));
  User user{"system:bootstrap:" + id, "", {"system:bootstrappers"}, {}};
  for (const std::string& group : split(data_of(*secret.value(), "auth-extra-groups"), ',')) {
    if (group.empty()) continue;
    if (!is_bootstrap_group(group)) return refused("bootstrap group \"" + group + "\" is invalid");
    user.groups.push_back(group);
  }
  user.groups.emplace_back("system:authenticated");
  return user;
}

}  // namespace skiff::apiserver
