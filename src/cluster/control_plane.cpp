#include "cluster/control_plane.hpp"

#include <errno.h>

#include "api/gen/authentication.hpp"
#include "api/gen/nodes.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/rbac.hpp"
#include "api/gen/scheduling.hpp"
#include "cluster/usage.hpp"
#include "net/sockets.hpp"
#include "skiff/version.hpp"
#include "sys/files.hpp"
#include "sys/namespaces.hpp"

namespace skiff::cluster {
namespace {

constexpr std::int64_t kMountedTokenSeconds = 3607;

Result<UniqueFd> listening_socket(const std::string& address, std::uint16_t port) {
  TRY_ASSIGN(net::Address where, net::parse_address(address));
  return net::open_listener(net::Protocol::Tcp, {where, port});
}

std::vector<std::string> server_names(const Settings& settings) {
  const ClusterConfig& config = settings.config;
  std::vector<std::string> names = {"localhost",
                                    "kubernetes",
                                    "kubernetes.default",
                                    "kubernetes.default.svc",
                                    "kubernetes.default.svc." + config.cluster_domain,
                                    "127.0.0.1",
                                    "::1"};
  for (net::Address address : settings.service_addresses(1)) names.push_back(address.str());
  if (config.expose != "127.0.0.1") names.push_back(config.expose);
  // The nodes' addresses follow the host's in their range; those that may come count too.
  for (const net::ClusterRanges& family : settings.ranges())
    for (std::uint64_t i = 0; i < 64; ++i) names.push_back(family.nodes.at(i + 2).str());
  return names;
}

registry::ServiceRangeOptions service_ranges(const Settings& settings) {
  std::vector<net::ClusterRanges> families = settings.ranges();
  registry::ServiceRangeOptions options{.cluster_cidr = families.front().services.str()};
  if (families.size() == 2) options.second_cidr = families.back().services.str();
  return options;
}

}  // namespace

Result<std::unique_ptr<ControlPlane>> ControlPlane::start(const Settings& settings, Clock& clock, Random& random,
                                                          client::NodeAccessByName nodes) {
  std::unique_ptr<ControlPlane> plane(new ControlPlane(clock, random));
  TRY_ASSIGN(plane->identity_, establish_identity(settings, clock.wall_now()));
  {
    TRY_ASSIGN(Leaves leaves, establish_leaves(plane->identity_, settings, server_names(settings), clock.wall_now()));
    MutexLock lock(plane->mutex_);
    plane->leaves_ = std::move(leaves);
  }
  TRY(plane->open(settings, nodes));
  TRY(plane->listen(settings, std::move(nodes)));
  return plane;
}

ControlPlane::~ControlPlane() { stop(); }

Status ControlPlane::open(const Settings& settings, const client::NodeAccessByName& nodes) {
  TRY_ASSIGN(store_, store::Store::open({.path = Paths(settings.config).database()}));
  registry_ = std::make_unique<registry::Registry>(
      *store_, clock_, random_, service_ranges(settings));
  registry_->set_token_signer([this](const client::ObjectKey& account, const std::string& uid, registry::Draft& draft) {
    return sign_token(account, uid, draft);
  });
  registry_->set_usage_source(usage_source(nodes, client()));
  registry_->admission().set_default_toleration(settings.config.eviction_after);
  TRY_ASSIGN(access_, apiserver::AccessControl::create(*registry_, client()));
  registry_->set_authorizer(*access_);
  authenticator_.signer = identity_.signer.get();
  authenticator_.cluster = &client();
  authenticator_.clock = &clock_;
  registry_->set_token_authenticator(authenticator_);
  registry_->set_certificate_authority(certificates_);
  webhooks_ = std::make_unique<apiserver::WebhookClient>(client(), nodes);
  registry_->admission().set_webhook_caller(*webhooks_);
  custom_resources_ = std::make_unique<registry::CustomResources>(*registry_, clock_, random_, webhooks_.get());
  TRY(custom_resources_->start());
  {
    MutexLock lock(mutex_);
    aggregator_ = std::make_unique<apiserver::Aggregator>(client(), clock_, nodes, leaves_.front_proxy);
  }
  return aggregator_->start(*registry_->catalogue());
}

Status ControlPlane::open_audit_log(const ClusterConfig& config) {
  if (config.audit_log.empty()) return ok();
  std::optional<apiserver::AuditLevel> level = apiserver::audit_level(config.audit_level);
  if (!level) return error(Code::Invalid, "there is no audit level '{}'", config.audit_level);
  TRY_ASSIGN(audit_, apiserver::AuditLog::open(config.audit_log, *level));
  return ok();
}

// Under kube-apiserver's names, which monitoring knows.
std::vector<apiserver::HealthCheck> ControlPlane::health_checks() {
  auto store_reads = [this] {
    return store_->revision() > 0 ? ok() : Status(Error(Code::Unavailable, "the store is empty"));
  };
  auto exists = [this](const api::KindInfo& kind, const char* name) {
    return [this, &kind, name] {
      Result<registry::Object> found = registry_->get(registry_->of(kind), {"", name});
      return found.ok() ? ok() : Status(found.error());
    };
  };
  return {{"log", [] { return ok(); }},
          {"etcd", store_reads},
          {"etcd-readiness", store_reads, true},
          {"poststarthook/rbac/bootstrap-roles", exists(api::kind_of<api::ClusterRole>(), "cluster-admin")},
          {"poststarthook/scheduling/bootstrap-system-priority-classes",
           exists(api::kind_of<api::PriorityClass>(), "system-node-critical")},
          {"shutdown", [this] { return stopping_ ? Status(Error(Code::Unavailable, "process is shutting down")) : ok(); },
           true}};
}

Status ControlPlane::listen(const Settings& settings, client::NodeAccessByName nodes) {
  TRY(open_audit_log(settings.config));
  api_ = std::make_unique<apiserver::Api>(apiserver::ApiOptions{.registry = *registry_,
                                                                .clock = clock_,
                                                                .authenticator = authenticator_,
                                                                .nodes = std::move(nodes),
                                                                .git_version = kKubernetesVersion,
                                                                .health = health_checks(),
                                                                .audit = audit_.get(),
                                                                .limits = {},
                                                                .aggregator = aggregator_.get()});
  TRY_ASSIGN(tls_, apiserver::TlsAcceptor::create(tls_settings()));
  TRY_ASSIGN(listener_, apiserver::Listener::create({}, tls_.get(), [this](const apiserver::Request& request) {
               return api_->handle(request);
             }));
  const ClusterConfig& config = settings.config;
  Result<UniqueFd> socket = listening_socket(config.expose, config.api_port);
  if (!socket.ok() && socket.error().sys_errno() == EADDRINUSE)
    return error(Code::Unavailable,
                 "port {} on {} is in use by another program; choose another with --api-port", config.api_port,
                 config.expose);
  TRY_ASSIGN(UniqueFd listening, std::move(socket));
  TRY(listener_->listen(std::move(listening)));
  TRY_ASSIGN(net::Address exposed, net::parse_address(config.expose));
  if (exposed.is_any()) exposed = net::Address::loopback(exposed.family);
  url_ = "https://" + net::Endpoint{exposed, config.api_port}.str();
  return ok();
}

apiserver::TlsSettings ControlPlane::tls_settings() const {
  MutexLock lock(mutex_);
  return {.certificate = leaves_.server.certificate,
          .key = leaves_.server.key,
          .client_authority = identity_.authority.certificate,
          .front_proxy_authority = identity_.front_proxy_authority.certificate};
}

apiserver::CertificatePair ControlPlane::admin() const {
  MutexLock lock(mutex_);
  return leaves_.admin;
}

void ControlPlane::keep_certificates_fresh(const Settings& settings, std::function<Status()> renewed) {
  Leaves in_use;
  {
    MutexLock lock(mutex_);
    in_use = leaves_;
  }
  CertificateRenewal::Uses uses{
      .establish = [this, settings](WallTime now) {
        return establish_leaves(identity_, settings, server_names(settings), now);
      },
      .put_into_use = [this, renewed = std::move(renewed)](const Leaves& leaves) -> Status {
        TRY(put_into_use(leaves));
        return renewed();
      }};
  renewal_ = std::make_unique<CertificateRenewal>(clock_, std::move(in_use), std::move(uses));
  renewal_->start();
}

// Connections that are open keep what they have.
Status ControlPlane::put_into_use(const Leaves& leaves) {
  {
    MutexLock lock(mutex_);
    leaves_ = leaves;
  }
  aggregator_->set_identity(leaves.front_proxy);
  return tls_->replace(tls_settings());
}

Result<std::uint64_t> ControlPlane::serve_in(const UniqueFd& network, const std::string& address) {
  TRY_ASSIGN(UniqueFd socket, sys::in_network(network, [&] { return listening_socket(address, kNodeApiPort); }));
  return listener_->listen(std::move(socket));
}

void ControlPlane::stop() {
  stopping_ = true;
  if (renewal_) renewal_->stop();
  if (listener_) listener_->stop();
  if (aggregator_) aggregator_->stop();
  if (custom_resources_) custom_resources_->stop();
}

std::optional<apiserver::BoundObject> ControlPlane::node_of_pod(const client::ObjectKey& key) {
  Result<client::Ref<api::Pod>> pod = client().get<api::Pod>(key);
  if (!pod.ok() || pod.value()->spec.nodeName.empty()) return std::nullopt;
  const std::string& name = pod.value()->spec.nodeName;
  Result<client::Ref<api::Node>> node = client().get<api::Node>({"", name});
  return apiserver::BoundObject{name, node.ok() ? node.value()->metadata.uid : ""};
}

Result<std::string> ControlPlane::sign_legacy_token(const client::ObjectKey& secret, const std::string& account,
                                                    const std::string& uid) const {
  apiserver::TokenClaims claims;
  claims.token_namespace = secret.namespace_;
  claims.service_account = {account, uid};
  claims.secret = {secret.name, ""};
  return identity_.signer->sign_legacy(claims);
}

Status ControlPlane::sign_token(const client::ObjectKey& account, const std::string& uid, registry::Draft& draft) {
  auto& request = *static_cast<api::TokenRequest*>(draft.value.get());
  WallTime now = clock_.wall_now();
  apiserver::TokenClaims claims;
  claims.token_namespace = account.namespace_;
  claims.service_account = {account.name, uid};
  claims.audiences = request.spec.audiences;
  claims.id = random_.uuid();
  claims.issued = now;
  claims.expires = now + std::chrono::seconds(*request.spec.expirationSeconds);
  if (const auto& bound = request.spec.boundObjectRef) {
    if (bound->kind == "Pod") {
      claims.pod = {bound->name, bound->uid};
      claims.node = node_of_pod({account.namespace_, bound->name});
    }
    if (bound->kind == "Secret") claims.secret = {bound->name, bound->uid};
    if (bound->kind == "Node") claims.node = {bound->name, bound->uid};
  }
  if (claims.audiences.empty()) claims.audiences = {std::string(apiserver::kTokenIssuer)};
  bool ours = claims.audiences == std::vector<std::string>{std::string(apiserver::kTokenIssuer)};
  // The token that every pod mounts works on for programs that never read it again, as in Kubernetes.
  if (claims.pod && ours && request.spec.expirationSeconds == kMountedTokenSeconds) {
    claims.warn_after = api::Time::from(claims.expires).unix_seconds();
    claims.expires = now + std::chrono::hours(365 * 24);
  }
  request.spec.audiences = claims.audiences;
  TRY_ASSIGN(request.status.token, identity_.signer->sign(claims));
  request.status.expirationTimestamp = api::Time::from(now + std::chrono::seconds(*request.spec.expirationSeconds));
  return ok();
}

}  // namespace skiff::cluster
