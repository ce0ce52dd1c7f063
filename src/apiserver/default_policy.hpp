#pragma once
// The roles and bindings that every cluster has (kube-apiserver's bootstrap policy of v1.36).

#include <vector>

#include "api/gen/rbac.hpp"
#include "client/client.hpp"

namespace skiff::apiserver {

struct DefaultPolicy {
  std::vector<api::ClusterRole> cluster_roles;
  std::vector<api::ClusterRoleBinding> cluster_bindings;
  std::vector<api::Role> roles;
  std::vector<api::RoleBinding> bindings;
};

DefaultPolicy default_policy();

/// Creates what is missing and adds to what is there whatever it lacks, unless the object says that it is not to be
/// updated (rbac.authorization.kubernetes.io/autoupdate); takes nothing away. kube-system and kube-public exist.
/// Writes are made side by side, so that the store commits them together.
Status reconcile_default_policy(client::Client& client);

}  // namespace skiff::apiserver
