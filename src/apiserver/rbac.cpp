#include "apiserver/rbac.hpp"

#include <algorithm>
#include <atomic>
#include <functional>
#include <unordered_map>

#include "api/gen/rbac.hpp"
#include "api/status.hpp"
#include "base/encoding.hpp"
#include "base/log.hpp"
#include "registry/rbac_rules.hpp"

namespace skiff::apiserver {

using registry::AccessRequest;
using registry::Registry;
using registry::SubjectRules;
using registry::User;
using registry::Verdict;

namespace {

constexpr std::string_view kAccountPrefix = "system:serviceaccount:";

// One subject of one binding.
struct Grant {
  client::AnyRef binding;
  const api::RoleRef* ref = nullptr;
  const api::Subject* subject = nullptr;
  client::AnyRef role;  // null: there is none of that name
  const std::vector<api::PolicyRule>* rules = nullptr;
};

// The grants of one scope (the cluster, or a namespace) by whom they name.
struct Grants {
  std::unordered_map<std::string, std::vector<Grant>> users, groups;
};

std::string binding_text(const Grant& grant) {
  const api::ObjectMeta& metadata = grant.binding.metadata();
  const api::Subject& subject = *grant.subject;
  std::string who = subject.name;
  if (subject.kind == "ServiceAccount")
    who += "/" + (subject.namespace_.empty() ? metadata.namespace_ : subject.namespace_);
  std::string name = metadata.namespace_.empty() ? metadata.name : metadata.name + "/" + metadata.namespace_;
  return fmt::format("{} {} of {} {} to {} {}", grant.binding.kind().kind, api::quote(name), grant.ref->kind,
                     api::quote(grant.ref->name), subject.kind, api::quote(who));
}

std::string missing_role(const Grant& grant) {
  return fmt::format("{}.rbac.authorization.k8s.io {} not found", grant.ref->kind == "Role" ? "role" : "clusterrole",
                     api::quote(grant.ref->name));
}

}  // namespace

struct RbacIndex {
  store::Revision revision = 0;  // holds all that happened until here
  Grants cluster;
  std::unordered_map<std::string, Grants> namespaces;
};

namespace {

using Roles = std::unordered_map<std::string, client::AnyRef>;  // "namespace/name", of cluster roles "/name"

template <class T>
Status for_each(const Registry& registry, store::Revision& oldest, const std::function<void(client::Ref<T>)>& visit) {
  TRY_ASSIGN(registry::ListPage page, registry.list(registry.of(api::kind_of<T>()), {}));
  oldest = std::min(oldest, page.revision);
  for (const registry::Object& object : page.items) visit(object.any().as<T>());
  return ok();
}

template <class T>
Status add_roles(const Registry& registry, store::Revision& oldest, Roles& roles) {
  return for_each<T>(registry, oldest, [&](client::Ref<T> role) {
    roles[role->metadata.namespace_ + "/" + role->metadata.name] = client::AnyRef(role);
  });
}

const std::vector<api::PolicyRule>& rules_of(const client::AnyRef& role) {
  if (auto* cluster = role.as<api::ClusterRole>().get()) return cluster->rules;
  return role.as<api::Role>()->rules;
}

template <class T>
void add_binding(const client::Ref<T>& binding, const Roles& roles, RbacIndex& index) {
  const std::string& namespace_ = binding->metadata.namespace_;
  Grants& grants = namespace_.empty() ? index.cluster : index.namespaces[namespace_];
  Grant grant{client::AnyRef(binding), &binding->roleRef, nullptr, {}, nullptr};
  auto role = roles.find((binding->roleRef.kind == "Role" ? namespace_ : "") + "/" + binding->roleRef.name);
  if (role != roles.end()) {
    grant.role = role->second;
    grant.rules = &rules_of(grant.role);
  }
  for (const api::Subject& subject : binding->subjects) {
    grant.subject = &subject;
    const std::string& home = subject.namespace_.empty() ? namespace_ : subject.namespace_;
    if (subject.kind == "User") grants.users[subject.name].push_back(grant);
    if (subject.kind == "Group") grants.groups[subject.name].push_back(grant);
    if (subject.kind == "ServiceAccount")
      grants.users[fmt::format("{}{}:{}", kAccountPrefix, home, subject.name)].push_back(grant);
  }
}

Result<std::shared_ptr<const RbacIndex>> make_index(const Registry& registry) {
  auto index = std::make_shared<RbacIndex>();
  store::Revision oldest = registry.revision();
  Roles roles;
  TRY(add_roles<api::ClusterRole>(registry, oldest, roles));
  TRY(add_roles<api::Role>(registry, oldest, roles));
  TRY(for_each<api::ClusterRoleBinding>(registry, oldest,
                                        [&](const auto& binding) { add_binding(binding, roles, *index); }));
  TRY(for_each<api::RoleBinding>(registry, oldest,
                                 [&](const auto& binding) { add_binding(binding, roles, *index); }));
  index->revision = oldest;
  return std::shared_ptr<const RbacIndex>(std::move(index));
}

// Calls `visit` with what `user` has been granted, until it returns false.
using Visit = std::function<bool(const Grant&)>;

bool visit_scope(const Grants& grants, const User& user, const Visit& visit) {
  auto all = [&](const auto& by_name, const std::string& name) {
    auto found = by_name.find(name);
    if (found == by_name.end()) return true;
    for (const Grant& grant : found->second)
      if (!visit(grant)) return false;
    return true;
  };
  if (!all(grants.users, user.name)) return false;
  for (const std::string& group : user.groups)
    if (!all(grants.groups, group)) return false;
  return true;
}

void visit_grants(const RbacIndex& index, const User& user, std::string_view namespace_, const Visit& visit) {
  if (!visit_scope(index.cluster, user, visit) || namespace_.empty()) return;
  auto found = index.namespaces.find(std::string(namespace_));
  if (found != index.namespaces.end()) visit_scope(found->second, user, visit);
}

std::string error_text(std::vector<std::string> problems) {
  std::vector<std::string> distinct;
  for (std::string& problem : problems)
    if (std::ranges::find(distinct, problem) == distinct.end()) distinct.push_back(std::move(problem));
  if (distinct.size() < 2) return distinct.empty() ? "" : distinct[0];
  return "[" + join(distinct, ", ") + "]";
}

Verdict decide(const RbacIndex& index, const AccessRequest& request) {
  Verdict verdict;
  std::vector<std::string> problems;
  std::string_view where = request.is_resource ? request.namespace_ : std::string_view();
  visit_grants(index, request.user, where, [&](const Grant& grant) {
    if (grant.rules == nullptr) {
      problems.push_back(missing_role(grant));
      return true;
    }
    for (const api::PolicyRule& rule : *grant.rules) {
      if (!registry::allows(rule, request)) continue;
      verdict = {registry::Decision::Allow, "RBAC: allowed by " + binding_text(grant), ""};
      return false;
    }
    return true;
  });
  if (verdict.allowed() || problems.empty()) return verdict;
  verdict.reason = "RBAC: " + error_text(std::move(problems));
  return verdict;
}

}  // namespace

// Notices changes on the store's writer thread.
class Rbac::Changes final : public registry::EventSink {
 public:
  void on_event(const registry::ObjectEvent& event) override { last_.store(event.revision); }
  void on_closed(const Error&) override {}  // the store is closing

  Status watch(const Registry& registry, const api::KindInfo& kind) {
    TRY_ASSIGN(std::unique_ptr<registry::ObjectWatch> watch,
               registry.watch(registry.of(kind), {}, registry.revision(), *this));
    watches_.push_back(std::move(watch));
    return ok();
  }
  store::Revision last() const { return last_.load(); }
  /// Every change until this revision is in last().
  store::Revision seen() const {
    store::Revision least = watches_.front()->progress();
    for (const auto& watch : watches_) least = std::min(least, watch->progress());
    return least;
  }

 private:
  std::atomic<store::Revision> last_ = 0;
  std::vector<std::unique_ptr<registry::ObjectWatch>> watches_;
};

Rbac::Rbac(const Registry& registry) : registry_(registry), changes_(std::make_unique<Changes>()) {}
Rbac::~Rbac() = default;

Result<std::unique_ptr<Rbac>> Rbac::create(const Registry& registry) {
  std::unique_ptr<Rbac> rbac(new Rbac(registry));
  for (const api::KindInfo* kind : {&api::kind_of<api::ClusterRole>(), &api::kind_of<api::Role>(),
                                    &api::kind_of<api::ClusterRoleBinding>(), &api::kind_of<api::RoleBinding>()})
    TRY(rbac->changes_->watch(registry, *kind));
  return rbac;
}

// The present index; with `newest`, one that holds everything that had been written when this was called.
std::shared_ptr<const RbacIndex> Rbac::index(bool newest) const {
  store::Revision wanted = registry_.revision();
  if (!newest || changes_->seen() >= wanted) wanted = changes_->last();
  MutexLock lock(mutex_);
  if (index_ && index_->revision >= wanted) return index_;
  Result<std::shared_ptr<const RbacIndex>> made = make_index(registry_);
  if (made.ok()) index_ = std::move(made).value();
  else log::error("rbac", "read roles and bindings: {}", made.error().message());
  if (!index_) index_ = std::make_shared<RbacIndex>();
  return index_;
}

Verdict Rbac::authorize(const AccessRequest& request) const {
  std::shared_ptr<const RbacIndex> seen = index(false);
  Verdict verdict = decide(*seen, request);
  if (verdict.allowed()) return verdict;
  std::shared_ptr<const RbacIndex> newest = index(true);
  return newest == seen ? verdict : decide(*newest, request);
}

SubjectRules Rbac::rules_for(const User& user, const std::string& namespace_) const {
  SubjectRules rules;
  std::vector<std::string> problems;
  std::shared_ptr<const RbacIndex> newest = index(true);
  visit_grants(*newest, user, namespace_, [&](const Grant& grant) {
    if (grant.rules == nullptr) problems.push_back(missing_role(grant));
    else rules.rules.insert(rules.rules.end(), grant.rules->begin(), grant.rules->end());
    return true;
  });
  rules.incomplete = !problems.empty();
  rules.evaluation_error = error_text(std::move(problems));
  return rules;
}

}  // namespace skiff::apiserver
