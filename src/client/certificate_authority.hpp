#pragma once
// Reading and signing certificate requests, for those who may not know OpenSSL. The API server room implements it.

#include <chrono>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"

namespace skiff::client {

/// What a PKCS#10 request says.
struct CertificateRequest {
  std::string common_name;
  std::vector<std::string> organizations, dns_names, ip_addresses, emails, uris;
};

struct CertificateTerms {
  std::vector<std::string> usages;  // as in CertificateSigningRequest.spec.usages
  std::chrono::seconds lifetime;
};

/// Any thread.
class CertificateAuthority {
 public:
  virtual ~CertificateAuthority() = default;
  /// Invalid: not a PEM block of that type, or not signed by its own key.
  virtual Result<CertificateRequest> read(const std::string& request_pem) const = 0;
  /// The end of a certificate's life.
  virtual Result<WallTime> expiry(const std::string& certificate_pem) const = 0;
  /// The certificate (PEM), with the subject and the alternative names of the request.
  virtual Result<std::string> sign(const std::string& request_pem, const CertificateTerms& terms,
                                   WallTime now) const = 0;
};

}  // namespace skiff::client
