#pragma once
// What a node may do (kube-apiserver's Node authoriser): the rules of role system:node, narrowed to what its own pods
// need.

#include <optional>
#include <string>
#include <vector>

#include "api/gen/rbac.hpp"
#include "client/client.hpp"
#include "registry/authorizer.hpp"

namespace skiff::apiserver {

/// Has an opinion about users system:node:NAME of group system:nodes only. Relations between nodes and objects are
/// looked up when asked: the pods of one namespace, in memory. Any thread.
class NodeAuthorizer {
 public:
  NodeAuthorizer(client::Client& cluster, std::vector<api::PolicyRule> node_rules)
      : cluster_(cluster), rules_(std::move(node_rules)) {}

  registry::Verdict authorize(const registry::AccessRequest& request) const;

 private:
  registry::Verdict decide(const std::string& node, const registry::AccessRequest& request) const;
  registry::Verdict related(const std::string& node, const registry::AccessRequest& request) const;
  registry::Verdict read_in_namespace(const std::string& node, const registry::AccessRequest& request) const;
  registry::Verdict get_one(const std::string& node, const registry::AccessRequest& request) const;
  registry::Verdict service_account(const std::string& node, const registry::AccessRequest& request) const;
  registry::Verdict pod(const std::string& node, const registry::AccessRequest& request) const;

  client::Client& cluster_;
  const std::vector<api::PolicyRule> rules_;
};

}  // namespace skiff::apiserver
