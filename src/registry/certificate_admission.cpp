#include "registry/certificate_admission.hpp"

#include <algorithm>

namespace skiff::registry {
namespace {

constexpr char kClientSigner[] = "kubernetes.io/kube-apiserver-client";
constexpr char kMasters[] = "system:masters";

Error forbidden(const api::CertificateSigningRequest& request, const std::string& why) {
  return api::forbidden(api::kind_of<api::CertificateSigningRequest>(), request.metadata.name, why);
}

// The signer itself, or all of its domain.
bool may(const char* verb, const std::string& signer, const StrategyContext& context) {
  auto allowed = [&](const std::string& name) {
    return context.authorizer
        .authorize({.user = context.request.user,
                    .verb = verb,
                    .group = "certificates.k8s.io",
                    .version = "*",
                    .resource = "signers",
                    .name = name})
        .allowed();
  };
  return allowed(signer) || allowed(signer.substr(0, signer.find('/')) + "/*");
}

}  // namespace

Status admit_certificate_subject(const api::CertificateSigningRequest& request,
                                 const client::CertificateRequest& asked) {
  if (request.spec.signerName != kClientSigner) return ok();
  if (std::ranges::find(asked.organizations, kMasters) == asked.organizations.end()) return ok();
  return forbidden(request, fmt::format("use of {} signer with {} group is not allowed", kClientSigner, kMasters));
}

Status admit_certificate_approval(const api::CertificateSigningRequest& request, const StrategyContext& context) {
  if (may("approve", request.spec.signerName, context)) return ok();
  return forbidden(request, "user not permitted to approve requests with signerName " +
                                api::quote(request.spec.signerName));
}

Status admit_certificate_signing(const api::CertificateSigningRequest& next,
                                 const api::CertificateSigningRequest& old, const StrategyContext& context) {
  if (next.status == old.status) return ok();
  if (may("sign", old.spec.signerName, context)) return ok();
  return forbidden(old, "user not permitted to sign requests with signerName " + api::quote(old.spec.signerName));
}

}  // namespace skiff::registry
