#include "cluster/identity.hpp"

#include "sys/files.hpp"

namespace skiff::cluster {
namespace {

using apiserver::CertificatePair;

Result<CertificatePair> authority(const std::string& directory, const std::string& name,
                                  const std::string& common_name, WallTime now) {
  Result<CertificatePair> kept = apiserver::load_pair(directory, name);
  if (kept.ok()) return kept;
  if (sys::exists(directory + "/" + name + ".key")) return kept;  // there, but damaged: never replaced silently
  TRY_ASSIGN(CertificatePair made,
             apiserver::make_authority(common_name, {.from = now, .span = apiserver::kAuthorityLifetime}));
  TRY(apiserver::save_pair(made, directory, name));
  return made;
}

// The pair kept as `name`, or a new one by `issue` when that is missing, old, or of another authority.
template <class Issue>
Result<CertificatePair> leaf(const std::string& directory, const std::string& name, const CertificatePair& ca,
                             WallTime now, Issue issue) {
  Result<CertificatePair> kept = apiserver::load_pair(directory, name);
  if (kept.ok() && !apiserver::needs_renewal(kept.value().certificate, ca.certificate, now)) return kept;
  TRY_ASSIGN(CertificatePair made, issue());
  TRY(apiserver::save_pair(made, directory, name));
  return made;
}

Result<std::string> signing_key(const std::string& path) {
  if (sys::exists(path)) return sys::read_file(path);
  TRY_ASSIGN(std::string key, apiserver::make_signing_key());
  TRY(sys::replace_file(path, key, 0600));
  return key;
}

}  // namespace

Result<Identity> establish_identity(const Settings& settings, WallTime now) {
  std::string directory = Paths(settings.config).pki();
  TRY(sys::make_directories(directory, 0700));
  Identity identity;
  TRY_ASSIGN(identity.authority, authority(directory, "ca", "kubernetes", now));
  TRY_ASSIGN(identity.front_proxy_authority, authority(directory, "front-proxy-ca", "front-proxy-ca", now));
  TRY_ASSIGN(std::string key, signing_key(directory + "/sa.key"));
  TRY_ASSIGN(identity.signer, apiserver::TokenSigner::create(key));
  return identity;
}

Result<Leaves> establish_leaves(const Identity& identity, const Settings& settings,
                                const std::vector<std::string>& server_names, WallTime now) {
  std::string directory = Paths(settings.config).pki();
  apiserver::Validity validity{.from = now, .span = apiserver::kLeafLifetime};
  Leaves leaves;
  TRY_ASSIGN(leaves.server, leaf(directory, "apiserver", identity.authority, now, [&] {
               return apiserver::issue_server(identity.authority, "kube-apiserver", server_names, validity);
             }));
  TRY_ASSIGN(leaves.admin, leaf(directory, "admin", identity.authority, now, [&] {
               return apiserver::issue_client(identity.authority, "kubernetes-admin",
                                              {"system:masters", "kubeadm:cluster-admins"}, validity);
             }));
  TRY_ASSIGN(leaves.front_proxy, leaf(directory, "front-proxy-client", identity.front_proxy_authority, now, [&] {
               return apiserver::issue_client(identity.front_proxy_authority, "front-proxy-client", {}, validity);
             }));
  return leaves;
}

}  // namespace skiff::cluster
