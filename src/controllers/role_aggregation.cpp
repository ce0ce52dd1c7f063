// Puts aggregated ClusterRoles together from those their selectors name (kube-controller-manager's
// clusterrole-aggregation-controller).

#include <algorithm>

#include "api/gen/rbac.hpp"
#include "api/selector.hpp"
#include "controllers/kinds.hpp"

namespace skiff::controllers {
namespace {

class RoleAggregation final : public Controller {
 public:
  explicit RoleAggregation(const Context& context)
      : Controller(context, "clusterrole-aggregation-controller"), roles_(context.informers.of<api::ClusterRole>()) {
    // Any role may be part of any aggregated one: there are few of those.
    roles_.on_change([this](const Ref<api::ClusterRole>&, const Ref<api::ClusterRole>&) {
      for (const Ref<api::ClusterRole>& role : roles_.list())
        if (role->aggregationRule) queue().add(key_of(*role));
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    Ref<api::ClusterRole> role = roles_.get(key);
    if (!role || !role->aggregationRule) return Requeue::never();
    TRY_ASSIGN(std::vector<api::PolicyRule> rules, collect(*role));
    if (rules == role->rules) return Requeue::never();
    api::ClusterRole next = *role;
    next.rules = std::move(rules);
    Result<Ref<api::ClusterRole>> written = client_.update(std::move(next));
    if (written.ok() || written.error().code() == Code::NotFound) return Requeue::never();
    return std::move(written).error();
  }

 private:
  // In the order of the selectors and, within one, of the names; each rule once.
  Result<std::vector<api::PolicyRule>> collect(const api::ClusterRole& aggregated) const {
    std::vector<api::PolicyRule> rules;
    std::vector<Ref<api::ClusterRole>> all = roles_.list();
    for (const api::LabelSelector& chosen : aggregated.aggregationRule->clusterRoleSelectors) {
      TRY_ASSIGN(api::Selector selector, api::Selector::from(chosen));
      for (const Ref<api::ClusterRole>& role : all) {
        if (role->metadata.name == aggregated.metadata.name || !selector.matches(role->metadata.labels)) continue;
        for (const api::PolicyRule& rule : role->rules)
          if (std::ranges::find(rules, rule) == rules.end()) rules.push_back(rule);
      }
    }
    return rules;
  }

  client::Informer<api::ClusterRole> roles_;
};

}  // namespace

std::unique_ptr<Controller> role_aggregation(const Context& context) {
  return std::make_unique<RoleAggregation>(context);
}

}  // namespace skiff::controllers
