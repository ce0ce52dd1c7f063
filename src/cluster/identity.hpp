#pragma once
// Who is who: the cluster's authorities, the key that signs service-account tokens, and the certificates of the API
// server, the administrator and the front proxy. Kept in the cluster's pki directory.

#include <memory>
#include <string>
#include <vector>

#include "apiserver/certificates.hpp"
#include "apiserver/tokens.hpp"
#include "cluster/state.hpp"

namespace skiff::cluster {

struct Identity {
  apiserver::CertificatePair authority;
  apiserver::CertificatePair front_proxy_authority;  // signs those who speak for others
  std::unique_ptr<apiserver::TokenSigner> signer;
};

/// What grows old.
struct Leaves {
  apiserver::CertificatePair server;
  apiserver::CertificatePair admin;
  apiserver::CertificatePair front_proxy;  // what the API server shows to aggregated ones
};

/// Loads what is there and makes what is missing.
Result<Identity> establish_identity(const Settings& settings, WallTime now);
/// The same, and makes those anew that have less than a third of their life left or are of another authority.
Result<Leaves> establish_leaves(const Identity& identity, const Settings& settings,
                                const std::vector<std::string>& server_names, WallTime now);

}  // namespace skiff::cluster
