#pragma once
// One function a controller. A controller registers its handlers when it is made, before Informers::start().

#include <memory>
#include <string>
#include <vector>

#include "client/certificate_authority.hpp"
#include "client/metadata_feed.hpp"
#include "controllers/controller.hpp"
#include "controllers/controllers.hpp"
#include "controllers/volume_directories.hpp"

namespace skiff::controllers {

class CustomMetrics;

/// Descriptors of the resources that the API server serves.
using Kinds = std::vector<const api::KindInfo*>;

std::unique_ptr<Controller> namespaces(const Context& context, const Kinds& served, client::MetadataFeed& everything);
std::unique_ptr<Controller> service_accounts(const Context& context);
/// Keeps ConfigMap kube-root-ca.crt with `root_ca` (PEM) in every namespace.
std::unique_ptr<Controller> root_ca(const Context& context, std::string root_ca);
/// Fills in and removes Secrets of type kubernetes.io/service-account-token.
std::unique_ptr<Controller> account_tokens(const Context& context, std::string root_ca, AccountTokenSigner sign);
std::unique_ptr<Controller> role_aggregation(const Context& context);
std::unique_ptr<Controller> certificates(const Context& context, const client::CertificateAuthority& authority);
/// Keeps Service default/kubernetes and its endpoints.
std::unique_ptr<Controller> api_service(const Context& context);
/// Keeps an IPAddress for each address of a Service.
std::unique_ptr<Controller> service_addresses(const Context& context);
std::unique_ptr<Controller> endpoints(const Context& context);
std::unique_ptr<Controller> endpoint_slices(const Context& context);
std::unique_ptr<Controller> endpoint_mirroring(const Context& context);
std::unique_ptr<Controller> replica_sets(const Context& context);
std::unique_ptr<Controller> replication_controllers(const Context& context);
std::unique_ptr<Controller> deployments(const Context& context);
std::unique_ptr<Controller> garbage_collector(const Context& context, const Kinds& served, client::MetadataFeed& everything);
std::unique_ptr<Controller> pod_garbage_collector(const Context& context);
/// `grace`: how long a node may be silent.
std::unique_ptr<Controller> node_lifecycle(const Context& context, Duration grace);
std::unique_ptr<Controller> taint_eviction(const Context& context);
std::unique_ptr<Controller> jobs(const Context& context);
std::unique_ptr<Controller> daemon_sets(const Context& context);
std::unique_ptr<Controller> stateful_sets(const Context& context);
std::unique_ptr<Controller> cron_jobs(const Context& context);
std::unique_ptr<Controller> disruption_budgets(const Context& context);
std::unique_ptr<Controller> resource_quotas(const Context& context, const Kinds& served, client::MetadataFeed& everything,
                                            const QuotaPending& pending);
std::unique_ptr<Controller> claim_protection(const Context& context);
std::unique_ptr<Controller> volume_protection(const Context& context);
/// Binds claims to volumes, provisions and reclaims. `directories` may be null: nothing is provisioned then.
std::unique_ptr<Controller> volume_binder(const Context& context, VolumeDirectories* directories);
std::unique_ptr<Controller> volume_expansion(const Context& context);
/// `custom` may be null: then only resource metrics are known.
std::unique_ptr<Controller> autoscalers(const Context& context, CustomMetrics* custom);
/// Makes the claims of pods' ephemeral volumes.
std::unique_ptr<Controller> ephemeral_claims(const Context& context);

}  // namespace skiff::controllers
