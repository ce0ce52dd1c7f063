#pragma once
// The cluster's own certificate authority: ECDSA P-256 keys, X.509 certificates, all of them as PEM text.
// Everything here is stateless and may be called from any thread.

#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"

namespace skiff::apiserver {

/// A certificate and its private key, both PEM.
struct CertificatePair {
  std::string certificate;
  std::string key;
};

/// How long a certificate is good for. It starts a minute in the past, for machines whose clocks differ a
/// little.
struct Validity {
  WallTime from;
  std::chrono::hours span;
};

constexpr std::chrono::hours kAuthorityLifetime{10 * 365 * 24};
constexpr std::chrono::hours kLeafLifetime{365 * 24};

/// A new self-signed authority that may sign leaves only (path length 0).
Result<CertificatePair> make_authority(const std::string& common_name, Validity validity);

/// A TLS server certificate. Each of `names` is a DNS name or the text of an IP address.
Result<CertificatePair> issue_server(const CertificatePair& authority, const std::string& common_name,
                                     const std::vector<std::string>& names, Validity validity);

/// A client certificate as Kubernetes reads it: `user` is the common name, each group an organization.
Result<CertificatePair> issue_client(const CertificatePair& authority, const std::string& user,
                                     const std::vector<std::string>& groups, Validity validity);

/// A bare P-256 private key (PEM), for signing tokens.
Result<std::string> make_signing_key();

/// The end of a certificate's life.
Result<WallTime> expiry_of(const std::string& certificate_pem);
/// True when `certificate_pem` cannot be read, has less than a third of `lifetime` left, or was not signed by
/// `authority_pem`; a leaf for which this says true is issued again at start.
bool needs_renewal(const std::string& certificate_pem, const std::string& authority_pem, WallTime now,
                   std::chrono::hours lifetime = kLeafLifetime);

/// `<directory>/<name>.crt` (mode 0644) and `<directory>/<name>.key` (mode 0600), each replaced atomically.
Status save_pair(const CertificatePair& pair, const std::string& directory, const std::string& name);
/// System (ENOENT) when either file is missing; Invalid when they are not a pair.
Result<CertificatePair> load_pair(const std::string& directory, const std::string& name);

}  // namespace skiff::apiserver
