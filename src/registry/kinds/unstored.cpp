// Kinds of which nothing is stored: a Binding is an order to the pod it names, a ComponentStatus is made when asked for.

#include "api/gen/core.hpp"
#include "api/gen/pod.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"

namespace skiff::registry {
namespace {

Status bind(api::Binding& binding, StrategyContext& context) {
  if (context.request.dry_run) return ok();
  client::ObjectKey pod = client::key_of(binding.metadata);
  auto order = std::make_shared<api::Binding>(binding);
  TRY(context.cluster.create_subresource(api::kind_of<api::Pod>(), pod, "binding",
                                         client::AnyRef(client::Ref<api::Binding>(std::move(order)))));
  return ok();
}

// All components live in the process that answers, so that an answer says that they do.
std::vector<std::shared_ptr<void>> component_statuses() {
  std::vector<std::shared_ptr<void>> all;
  for (const char* name : {"controller-manager", "etcd-0", "scheduler"}) {
    auto status = std::make_shared<api::ComponentStatus>();
    status->metadata.name = name;
    api::ComponentCondition& healthy = status->conditions.emplace_back();
    healthy.type = "Healthy";
    healthy.status = "True";
    healthy.message = "ok";
    all.push_back(std::move(status));
  }
  return all;
}

}  // namespace

std::vector<Resource> unstored_kinds() {
  Rules<api::Binding> bindings;
  bindings.answer = bind;
  std::vector<Resource> all{define(bindings), define<api::ComponentStatus>({.warning = "v1 ComponentStatus is deprecated in v1.19+"})};
  all[0].strategy.answers_status = true;
  all[1].strategy.stored = false;
  all[1].strategy.make_all = component_statuses;
  return all;
}

}  // namespace skiff::registry
