#pragma once
// The admission plugins CertificateSubjectRestriction, CertificateApproval and CertificateSigning.

#include "api/gen/certificates.hpp"
#include "client/certificate_authority.hpp"
#include "registry/resource.hpp"

namespace skiff::registry {

/// Nobody becomes system:masters by a certificate that the API server's clients use.
Status admit_certificate_subject(const api::CertificateSigningRequest& request,
                                 const client::CertificateRequest& asked);
/// Who changes the approval must hold `approve` on the signer, who changes the status `sign`.
Status admit_certificate_approval(const api::CertificateSigningRequest& request, const StrategyContext& context);
Status admit_certificate_signing(const api::CertificateSigningRequest& next,
                                 const api::CertificateSigningRequest& old, const StrategyContext& context);

}  // namespace skiff::registry
