#pragma once
// Whether a request may be: what it asks for as attributes, the chain of authorisers, and kube-apiserver's words when
// the answer is no.

#include <memory>

#include "apiserver/node_authorizer.hpp"
#include "apiserver/rbac.hpp"
#include "apiserver/request_info.hpp"
#include "registry/authorizer.hpp"

namespace skiff::apiserver {

/// system:masters may do everything; then the Node authoriser, then RBAC are asked. Any thread.
class AccessControl final : public registry::Authorizer {
 public:
  /// Both outlive it.
  static Result<std::unique_ptr<AccessControl>> create(const registry::Registry& registry, client::Client& cluster);

  registry::Verdict authorize(const registry::AccessRequest& request) const override;
  registry::SubjectRules rules_for(const registry::User& user, const std::string& namespace_) const override;

 private:
  AccessControl(client::Client& cluster, std::unique_ptr<Rbac> rbac);
  NodeAuthorizer node_;
  std::unique_ptr<Rbac> rbac_;
};

/// Views into `info`, `user` and `request`.
registry::AccessRequest access_request(const Request& request, const RequestInfo& info, const registry::User& user);

/// `pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"`.
Error forbidden(const registry::AccessRequest& request, const registry::Verdict& verdict);

/// ok, or the above.
Status authorize(const registry::Authorizer& authorizer, const registry::AccessRequest& request);

}  // namespace skiff::apiserver
