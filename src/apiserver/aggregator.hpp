#pragma once
// Aggregation: which versions of which groups other API servers serve, whether they can be reached, and the way to
// them. APIServices of what this server serves itself are kept up to date by the way.

#include <atomic>
#include <memory>
#include <string>

#include "api/gen/apiextensions.hpp"
#include "api/gen/apiregistration.hpp"
#include "api/gen/core.hpp"
#include "api/gen/service.hpp"
#include "apiserver/backend.hpp"
#include "apiserver/backend_check.hpp"
#include "client/controller.hpp"
#include "client/informer.hpp"
#include "registry/authorizer.hpp"
#include "registry/catalogue.hpp"

namespace skiff::apiserver {

/// One per cluster. Two worker threads, which wait for backends, and the informers of four kinds. Any thread.
class Aggregator final : public client::Reconciler {
 public:
  /// `identity`: the front proxy's certificate.
  Aggregator(client::Client& client, Clock& clock, client::NodeAccessByName nodes, CertificatePair identity);
  ~Aggregator() override;

  /// Registers what `catalogue` serves, then follows. Once custom resources are published.
  Status start(const registry::Catalogue& catalogue);
  void stop();

  /// Who serves `path`; null: this server.
  std::shared_ptr<const Backend> find(std::string_view path) const;
  std::shared_ptr<const Backends> backends() const { return backends_.load(); }
  /// Passes the request on in the name of `user`, and what comes back, as it comes.
  Response pass_on(const Request& request, const registry::User& user, std::shared_ptr<const Backend> backend) const;
  void set_identity(CertificatePair identity) { caller_->set_identity(std::move(identity)); }

  std::string name() const override { return "api-service-availability"; }
  Result<client::Requeue> reconcile(const client::ObjectKey& key) override;

 private:
  using Definition = api::CustomResourceDefinition;

  void follow();
  void wake_dependents(const client::ObjectKey& service);
  void rebuild();
  void remember(const std::string& name, std::shared_ptr<const RemoteDocuments> documents);
  api::APIServiceCondition check(const api::APIService& service);
  Status settle(const client::Ref<api::APIService>& service, const api::APIServiceCondition& available);

  client::Client& client_;
  Clock& clock_;
  client::Informers informers_;
  client::Informer<api::APIService> api_services_;
  client::Informer<api::Service> services_;
  client::Informer<api::Endpoints> endpoints_;
  client::Informer<Definition> definitions_;
  std::shared_ptr<BackendCaller> caller_;  // shared with requests under way
  std::atomic<bool> any_{false};           // spares most requests all but this
  std::atomic<std::shared_ptr<const Backends>> backends_;
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<const RemoteDocuments>> documents_ GUARDED_BY(mutex_);  // by APIService
  client::ControllerRunner runner_;
};

}  // namespace skiff::apiserver
