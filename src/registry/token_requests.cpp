#include "registry/token_requests.hpp"

#include "api/gen/authentication.hpp"
#include "api/gen/core.hpp"
#include "api/gen/nodes.hpp"
#include "api/gen/pod.hpp"

namespace skiff::registry {
namespace {

constexpr std::int64_t kShortest = 600;
constexpr std::int64_t kLongest = std::int64_t{1} << 32;

Status check_place(const api::TokenRequest& request, const ObjectKey& account) {
  api::FieldErrors errors;
  const api::ObjectMeta& metadata = request.metadata;
  if (!metadata.name.empty() && metadata.name != account.name)
    errors.invalid("metadata.name", api::quote(metadata.name), "must match the service account name if specified");
  if (!metadata.namespace_.empty() && metadata.namespace_ != account.namespace_)
    errors.invalid("metadata.namespace", api::quote(metadata.namespace_),
                   "must match the service account namespace if specified");
  if (errors.empty()) return ok();
  return api::invalid(api::kind_of<api::TokenRequest>(), account.name, errors);
}

Status check_duration(const api::TokenRequest& request) {
  api::FieldErrors errors;
  std::int64_t seconds = *request.spec.expirationSeconds;
  std::string text = std::to_string(seconds);
  if (seconds < kShortest)
    errors.invalid("spec.expirationSeconds", text, "may not specify a duration less than 10 minutes");
  if (seconds > kLongest)
    errors.invalid("spec.expirationSeconds", text, "may not specify a duration larger than 2^32 seconds");
  if (errors.empty()) return ok();
  return api::invalid(api::kind_of<api::TokenRequest>(), "", errors);
}

Result<std::string> uid_of_pod(client::Client& cluster, const ObjectKey& pod_key, const std::string& account) {
  TRY_ASSIGN(client::Ref<api::Pod> pod, cluster.get<api::Pod>(pod_key));
  if (pod->spec.serviceAccountName != account)
    return api::bad_request(fmt::format("cannot bind token for serviceaccount {} to pod running with different "
                                        "serviceaccount name.",
                                        api::quote(account)));
  return pod->metadata.uid;
}

Result<std::string> bound_uid(client::Client& cluster, const api::BoundObjectReference& ref, const ObjectKey& account) {
  bool core = ref.apiVersion.find('/') == std::string::npos;
  if (core && ref.kind == "Pod") return uid_of_pod(cluster, {account.namespace_, ref.name}, account.name);
  if (core && ref.kind == "Secret") {
    TRY_ASSIGN(client::Ref<api::Secret> secret, cluster.get<api::Secret>({account.namespace_, ref.name}));
    return secret->metadata.uid;
  }
  if (core && ref.kind == "Node") {
    TRY_ASSIGN(client::Ref<api::Node> node, cluster.get<api::Node>({"", ref.name}));
    return node->metadata.uid;
  }
  std::string version = core ? "/" + ref.apiVersion : ref.apiVersion;
  return api::bad_request(fmt::format("cannot bind token to object of type {}, Kind={}", version, ref.kind));
}

Status bind_token(client::Client& cluster, api::BoundObjectReference& ref, const ObjectKey& account) {
  TRY_ASSIGN(std::string uid, bound_uid(cluster, ref, account));
  if (!ref.uid.empty() && ref.uid != uid) {
    auto detail = std::make_shared<api::StatusDetail>();
    detail->name = ref.name;
    detail->kind = ref.kind;
    return error(Code::Conflict,
                 "Operation cannot be fulfilled on {} {}: the UID in the bound object reference ({}) does not match the "
                 "UID in record. The object might have been deleted and then recreated",
                 ref.kind, api::quote(ref.name), ref.uid)
        .with(std::move(detail));
  }
  ref.uid = uid;
  return ok();
}

}  // namespace

Result<AnyRef> issue_token(Registry& registry, const Resource& accounts, const ObjectKey& key, Draft draft,
                           const Registry::TokenSigner& signer) {
  auto& request = *static_cast<api::TokenRequest*>(draft.value.get());
  TRY(check_place(request, key));
  TRY_ASSIGN(Object account, registry.get(accounts, key));
  if (!request.spec.expirationSeconds) request.spec.expirationSeconds = 3600;
  TRY(check_duration(request));
  if (request.spec.boundObjectRef) TRY(bind_token(registry.local_client(), *request.spec.boundObjectRef, key));
  if (!signer) return Error(Code::Unavailable, "service account tokens cannot be signed yet");
  request.metadata.name = key.name;
  request.metadata.namespace_ = key.namespace_;
  TRY(signer(key, account.metadata()->uid, draft));
  return draft.any();
}

}  // namespace skiff::registry
