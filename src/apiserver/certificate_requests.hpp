#pragma once

#include "apiserver/certificates.hpp"
#include "client/certificate_authority.hpp"

namespace skiff::apiserver {

/// Signs with the cluster's authority, which outlives it.
class ClusterAuthority final : public client::CertificateAuthority {
 public:
  explicit ClusterAuthority(const CertificatePair& authority) : authority_(authority) {}

  Result<client::CertificateRequest> read(const std::string& request_pem) const override;
  Result<WallTime> expiry(const std::string& certificate_pem) const override { return expiry_of(certificate_pem); }
  Result<std::string> sign(const std::string& request_pem, const client::CertificateTerms& terms,
                           WallTime now) const override;

 private:
  const CertificatePair& authority_;
};

}  // namespace skiff::apiserver
