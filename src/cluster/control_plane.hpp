#pragma once
// Store, registry and API server of one cluster: everything that exists once, whatever nodes there are.

#include <atomic>
#include <memory>
#include <string>

#include "apiserver/api.hpp"
#include "apiserver/authorize.hpp"
#include "apiserver/certificate_requests.hpp"
#include "apiserver/listener.hpp"
#include "apiserver/webhook_client.hpp"
#include "base/random.hpp"
#include "client/node_access.hpp"
#include "cluster/certificate_renewal.hpp"
#include "cluster/state.hpp"
#include "registry/admission.hpp"
#include "registry/custom_resources.hpp"
#include "registry/registry.hpp"
#include "store/store.hpp"

namespace skiff::cluster {

/// The port of the API inside the nodes.
inline constexpr std::uint16_t kNodeApiPort = 6443;

class ControlPlane {
 public:
  /// Opens the store and serves the API on the host. `nodes` finds kubelets, now or later.
  static Result<std::unique_ptr<ControlPlane>> start(const Settings& settings, Clock& clock, Random& random,
                                                     client::NodeAccessByName nodes);
  ~ControlPlane();

  client::Client& client() { return registry_->local_client(); }
  registry::Registry& registry() { return *registry_; }
  const Identity& identity() const { return identity_; }
  const std::string& url() const { return url_; }
  /// The administrator's certificate, as it is now.
  apiserver::CertificatePair admin() const;

  /// Renews certificates from now on; `renewed` runs on a thread of its own after each time.
  void keep_certificates_fresh(const Settings& settings, std::function<Status()> renewed);

  /// Serves the API inside a node too, so that pods reach it, until leave() with what this returns.
  Result<std::uint64_t> serve_in(const UniqueFd& network, const std::string& address);
  void leave(std::uint64_t socket) { listener_->unlisten(socket); }

  const client::CertificateAuthority& certificates() const { return certificates_; }
  /// The token of a Secret of type kubernetes.io/service-account-token.
  Result<std::string> sign_legacy_token(const client::ObjectKey& secret, const std::string& account,
                                        const std::string& uid) const;

  /// Ends open connections and watches cleanly; the store stays open until destruction.
  void stop();

 private:
  ControlPlane(Clock& clock, Random& random) : clock_(clock), random_(random) {}
  Status open(const Settings& settings, const client::NodeAccessByName& nodes);
  Status listen(const Settings& settings, client::NodeAccessByName nodes);
  Status open_audit_log(const ClusterConfig& config);
  std::vector<apiserver::HealthCheck> health_checks();
  apiserver::TlsSettings tls_settings() const;
  Status put_into_use(const Leaves& leaves);
  std::optional<apiserver::BoundObject> node_of_pod(const client::ObjectKey& key);
  Status sign_token(const client::ObjectKey& account, const std::string& uid, registry::Draft& draft);

  Clock& clock_;
  Random& random_;
  Identity identity_;
  mutable Mutex mutex_;
  Leaves leaves_ GUARDED_BY(mutex_);
  apiserver::Authenticator authenticator_;
  apiserver::ClusterAuthority certificates_{identity_.authority};
  std::string url_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<registry::Registry> registry_;
  std::unique_ptr<apiserver::AccessControl> access_;
  std::unique_ptr<apiserver::AuditLog> audit_;
  std::atomic<bool> stopping_{false};
  std::unique_ptr<apiserver::WebhookClient> webhooks_;
  std::unique_ptr<registry::CustomResources> custom_resources_;
  std::unique_ptr<apiserver::Aggregator> aggregator_;
  std::unique_ptr<apiserver::Api> api_;
  std::unique_ptr<apiserver::TlsAcceptor> tls_;
  std::unique_ptr<apiserver::Listener> listener_;
  std::unique_ptr<CertificateRenewal> renewal_;  // last: stops first
};

}  // namespace skiff::cluster
