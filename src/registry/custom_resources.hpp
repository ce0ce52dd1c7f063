#pragma once
// Serves what CustomResourceDefinitions define: accepts their names, publishes their versions in the registry, and
// empties them before they go (apiextensions-apiserver/pkg/controller/{status,establish,finalizer}).

#include <map>
#include <memory>
#include <string>

#include "client/controller.hpp"
#include "client/informer.hpp"
#include "registry/crd_conditions.hpp"
#include "registry/registry.hpp"
#include "registry/webhook_caller.hpp"

namespace skiff::registry {

/// One per registry, which outlives it. One worker thread and the definitions' informer; while a definition waits for
/// its last instances, an informer of those.
class CustomResources final : public client::Reconciler {
 public:
  /// `webhooks` may be null: then definitions that ask for conversion by webhook are not served.
  CustomResources(Registry& registry, Clock& clock, Random& random, WebhookCaller* webhooks);
  ~CustomResources() override;

  /// Publishes what was established before, then follows. Before the first request is answered.
  Status start();
  void stop();

  std::string name() const override { return "custom-resource-definitions"; }
  Result<client::Requeue> reconcile(const ObjectKey& key) override;

 private:
  using Crd = api::CustomResourceDefinition;

  /// What is published under a name, to tell whether it must be published again.
  struct Shown {
    std::string uid;
    std::int64_t generation = 0;
    api::CustomResourceDefinitionNames names;
    bool terminating = false;
    bool operator==(const Shown&) const = default;
  };

  void changed(const client::Ref<Crd>& before, const client::Ref<Crd>& now);
  Status publish(const Crd& crd);
  Result<Publication> publication_of(const Crd& crd);
  void retire(const std::string& name);
  void end_watches(const std::string& name);
  Status settle_names(const client::Ref<Crd>& crd);
  Status clean(const client::Ref<Crd>& crd);
  /// How many instances are left.
  Result<size_t> remove_instances(const api::KindInfo& kind);
  void wait_for_instances(const std::string& name, const api::KindInfo& kind);
  Status let_go(const client::Ref<Crd>& crd);

  Registry& registry_;
  client::Client& client_;
  Clock& clock_;
  Random& random_;
  WebhookCaller* webhooks_;
  std::map<std::string, Shown> shown_;                                      // the worker's
  std::map<std::string, std::vector<const api::KindInfo*>> kinds_;          // shown, or still watched: the last is newest
  std::map<std::string, std::unique_ptr<client::AnyInformer>> last_ones_;   // of definitions being emptied
  client::AnyInformer any_definitions_;
  client::Informer<Crd> definitions_;
  client::ControllerRunner runner_;
};

}  // namespace skiff::registry
