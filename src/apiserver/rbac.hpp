#pragma once
// Role-based access control over the registry's own roles and bindings.

#include <memory>
#include <string>

#include "base/mutex.hpp"
#include "registry/registry.hpp"

namespace skiff::apiserver {

struct RbacIndex;

/// Decides by an immutable index of all bindings by subject. The index is made again, from memory, when a role or a
/// binding has changed since; that is noticed by four watches, which cost a request nothing. A refusal is checked
/// against the newest state first, so that a permission counts from the moment its write is answered.
class Rbac final : public registry::Authorizer {
 public:
  static Result<std::unique_ptr<Rbac>> create(const registry::Registry& registry);
  ~Rbac() override;

  registry::Verdict authorize(const registry::AccessRequest& request) const override;
  registry::SubjectRules rules_for(const registry::User& user, const std::string& namespace_) const override;

 private:
  class Changes;
  explicit Rbac(const registry::Registry& registry);
  std::shared_ptr<const RbacIndex> index(bool newest) const;

  const registry::Registry& registry_;
  mutable Mutex mutex_;
  mutable std::shared_ptr<const RbacIndex> index_ GUARDED_BY(mutex_);
  std::unique_ptr<Changes> changes_;  // last: its watches go first
};

}  // namespace skiff::apiserver
