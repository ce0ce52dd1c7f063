#include "controllers/certificate_signers.hpp"

#include <algorithm>
#include <set>

namespace skiff::controllers {
namespace {

constexpr char kClient[] = "kubernetes.io/kube-apiserver-client";
constexpr char kKubeletClient[] = "kubernetes.io/kube-apiserver-client-kubelet";
constexpr char kKubeletServing[] = "kubernetes.io/kubelet-serving";
constexpr char kLegacy[] = "kubernetes.io/legacy-unknown";

using Usages = std::set<std::string>;

// Just `wanted`, with or without key encipherment (which only RSA keys have a use for).
bool usages_are(const api::CertificateSigningRequest& request, Usages wanted) {
  Usages has(request.spec.usages.begin(), request.spec.usages.end());
  has.erase("key encipherment");
  return has == wanted;
}

std::optional<std::string> node_subject_objection(const client::CertificateRequest& asked) {
  if (asked.organizations != std::vector<std::string>{"system:nodes"}) return "organization is not system:nodes";
  if (!asked.common_name.starts_with("system:node:")) return "subject common name does not begin with system:node:";
  return std::nullopt;
}

std::optional<std::string> kubelet_client_objection(const api::CertificateSigningRequest& request,
                                                    const client::CertificateRequest& asked) {
  if (auto objection = node_subject_objection(asked)) return objection;
  if (!asked.dns_names.empty()) return "DNS subjectAltNames are not allowed";
  if (!asked.emails.empty()) return "Email subjectAltNames are not allowed";
  if (!asked.ip_addresses.empty()) return "IP subjectAltNames are not allowed";
  if (!asked.uris.empty()) return "URI subjectAltNames are not allowed";
  if (!usages_are(request, {"client auth", "digital signature"}))
    return "usages did not match [client auth digital signature] or [client auth digital signature key encipherment]";
  return std::nullopt;
}

std::optional<std::string> kubelet_serving_objection(const api::CertificateSigningRequest& request,
                                                     const client::CertificateRequest& asked) {
  if (auto objection = node_subject_objection(asked)) return objection;
  if (asked.dns_names.empty() && asked.ip_addresses.empty())
    return "DNS or IP subjectAltName is required";
  if (!asked.emails.empty()) return "Email subjectAltNames are not allowed";
  if (!asked.uris.empty()) return "URI subjectAltNames are not allowed";
  if (!usages_are(request, {"digital signature", "server auth"}))
    return "usages did not match [digital signature server auth] or [digital signature key encipherment server auth]";
  return std::nullopt;
}

std::optional<std::string> client_objection(const api::CertificateSigningRequest& request) {
  static const Usages kAllowed{"client auth", "digital signature", "key encipherment"};
  Usages has(request.spec.usages.begin(), request.spec.usages.end());
  bool fits = has.contains("client auth") && std::ranges::includes(kAllowed, has);
  if (fits) return std::nullopt;
  return "usages did not match [client auth], with digital signature and key encipherment at most";
}

}  // namespace

bool is_own_signer(const std::string& signer) {
  return signer == kClient || signer == kKubeletClient || signer == kKubeletServing || signer == kLegacy;
}

std::optional<std::string> signer_objection(const api::CertificateSigningRequest& request,
                                            const client::CertificateRequest& asked) {
  const std::string& signer = request.spec.signerName;
  if (signer == kKubeletClient) return kubelet_client_objection(request, asked);
  if (signer == kKubeletServing) return kubelet_serving_objection(request, asked);
  if (signer == kClient) return client_objection(request);
  return std::nullopt;
}

bool is_kubelet_client(const api::CertificateSigningRequest& request, const client::CertificateRequest& asked) {
  return request.spec.signerName == kKubeletClient && !kubelet_client_objection(request, asked);
}

const api::CertificateSigningRequestCondition* find_condition(const api::CertificateSigningRequest& request,
                                                              std::string_view type) {
  for (const auto& condition : request.status.conditions)
    if (condition.type == type) return &condition;
  return nullptr;
}

}  // namespace skiff::controllers
