#pragma once
// What the cluster's signers sign, and what is approved without a person (pkg/controller/certificates). Pure.

#include <optional>
#include <string>

#include "api/gen/certificates.hpp"
#include "client/certificate_authority.hpp"

namespace skiff::controllers {

/// Null: the request may be signed. Otherwise why not.
std::optional<std::string> signer_objection(const api::CertificateSigningRequest& request,
                                            const client::CertificateRequest& asked);
/// Whether one of this cluster's signers is meant.
bool is_own_signer(const std::string& signer);
/// Whether `asked` is a kubelet's client certificate, as its signer takes it.
bool is_kubelet_client(const api::CertificateSigningRequest& request, const client::CertificateRequest& asked);

const api::CertificateSigningRequestCondition* find_condition(const api::CertificateSigningRequest& request,
                                                              std::string_view type);

}  // namespace skiff::controllers
