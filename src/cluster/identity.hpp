#pragma once
// Who is who: the cluster's authority, the API server's certificate, the administrator's, the front proxy's, the key that signs
// service-account tokens. Kept in the cluster's pki directory; leaves are renewed at start when they grow old.

#include <memory>
#include <string>
#include <vector>

#include "apiserver/certificates.hpp"
#include "apiserver/tokens.hpp"
#include "cluster/state.hpp"

namespace skiff::cluster {

struct Identity {
  apiserver::CertificatePair authority;
  apiserver::CertificatePair server;
  apiserver::CertificatePair admin;
  apiserver::CertificatePair front_proxy_authority;  // signs those who speak for others
  apiserver::CertificatePair front_proxy;            // what the API server shows to aggregated ones
  std::unique_ptr<apiserver::TokenSigner> signer;
};

/// Loads what is there and makes what is missing or too old.
Result<Identity> establish_identity(const Settings& settings, const std::vector<std::string>& server_names,
                                    WallTime now);

}  // namespace skiff::cluster
