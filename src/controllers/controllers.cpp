#include "controllers/controllers.hpp"

#include "controllers/kinds.hpp"

namespace skiff::controllers {

Controllers::Controllers(const Uses& uses, const ControllersOptions& options)
    : informers_(uses.informers), everything_(uses.client, uses.clock) {
  const Context context{uses.client, uses.informers, uses.clock, uses.random};
  all_.push_back(namespaces(context, options.served, everything_));
  all_.push_back(service_accounts(context));
  all_.push_back(root_ca(context, options.root_ca));
  all_.push_back(role_aggregation(context));
  if (options.sign_account_token)
    all_.push_back(account_tokens(context, options.root_ca, options.sign_account_token));
  if (options.authority) all_.push_back(certificates(context, *options.authority));
  all_.push_back(endpoints(context));
  all_.push_back(endpoint_slices(context));
  all_.push_back(endpoint_mirroring(context));
  all_.push_back(replica_sets(context));
  all_.push_back(replication_controllers(context));
  all_.push_back(deployments(context));
  all_.push_back(garbage_collector(context, options.served, everything_));
  all_.push_back(pod_garbage_collector(context));
  all_.push_back(node_lifecycle(context, options.node_grace));
  all_.push_back(taint_eviction(context));
  all_.push_back(api_service(context));
  all_.push_back(service_addresses(context));
  all_.push_back(jobs(context));
  all_.push_back(daemon_sets(context));
  all_.push_back(stateful_sets(context));
  all_.push_back(cron_jobs(context));
  all_.push_back(disruption_budgets(context));
  all_.push_back(resource_quotas(context, options.served, everything_, options.quota_pending));
  all_.push_back(claim_protection(context));
  all_.push_back(volume_protection(context));
  all_.push_back(volume_binder(context, options.directories));
  all_.push_back(volume_expansion(context));
  all_.push_back(ephemeral_claims(context));
  all_.push_back(autoscalers(context, options.custom_metrics));
}

Controllers::~Controllers() { stop(); }

bool Controllers::start(std::stop_token stop) {
  everything_.start();
  if (!informers_.wait_synced(stop) || !everything_.wait_synced(std::move(stop))) return false;
  for (const auto& controller : all_) controller->start();
  return true;
}

void Controllers::stop() {
  everything_.stop();
  for (const auto& controller : all_) controller->stop();
}

}  // namespace skiff::controllers
