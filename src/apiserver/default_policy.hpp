#pragma once
// The roles and bindings that every cluster has (kube-apiserver's bootstrap policy of v1.36).

#include <vector>

#include "api/gen/rbac.hpp"
#include "client/client.hpp"
#include "client/together.hpp"

namespace skiff::apiserver {

struct DefaultPolicy {
  std::vector<api::ClusterRole> cluster_roles;
  std::vector<api::ClusterRoleBinding> cluster_bindings;
  std::vector<api::Role> roles;
  std::vector<api::RoleBinding> bindings;
};

DefaultPolicy default_policy();

/// The writes that create what is missing and add to what is there whatever it lacks, unless the object says that it is
/// not to be updated (rbac.authorization.kubernetes.io/autoupdate); none takes anything away. They may run in any order
/// or at once, while `policy` lives and once kube-system and kube-public exist.
std::vector<client::Task> reconcile_default_policy(client::Client& client, const DefaultPolicy& policy);

}  // namespace skiff::apiserver
