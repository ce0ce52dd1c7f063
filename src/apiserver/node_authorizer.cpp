#include "apiserver/node_authorizer.hpp"

#include <algorithm>
#include <array>

#include "api/selector.hpp"
#include "apiserver/node_relations.hpp"
#include "registry/rbac_rules.hpp"

namespace skiff::apiserver {

using registry::AccessRequest;
using registry::Decision;
using registry::Verdict;

namespace {

Verdict allow() { return {Decision::Allow, "", ""}; }
Verdict refuse(std::string reason = "") { return {Decision::NoOpinion, std::move(reason), ""}; }

bool one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, word) != words.end();
}

Verdict lease(const std::string& node, const AccessRequest& request) {
  if (!one_of(request.verb, {"get", "create", "update", "patch", "delete"}))
    return refuse("can only get, create, update, patch, or delete a node lease");
  if (request.namespace_ != "kube-node-lease")
    return refuse("can only access leases in the \"kube-node-lease\" system namespace");
  if (request.verb != "create" && request.name != node)
    return refuse("can only access node lease with the same name as the requesting node");
  return allow();
}

Verdict csi_node(const std::string& node, const AccessRequest& request) {
  if (!one_of(request.verb, {"get", "create", "update", "patch", "delete"}))
    return refuse("can only get, create, update, patch, or delete a CSINode");
  if (!request.subresource.empty()) return refuse("cannot authorize CSINode subresources");
  if (request.verb != "create" && request.name != node)
    return refuse("can only access CSINode with the same name as the requesting node");
  return allow();
}

// Admission (NodeRestriction) holds writes to the node's own object.
Verdict own_node(const std::string& node, const AccessRequest& request) {
  if (request.subresource == "status") return one_of(request.verb, {"update", "patch"}) ? allow() : refuse();
  if (!request.subresource.empty()) return refuse();
  if (one_of(request.verb, {"create", "update", "patch"})) return allow();
  if (!one_of(request.verb, {"get", "list", "watch"})) return refuse();
  if (request.name == node) return allow();
  if (request.name.empty())
    return refuse(fmt::format("node '{}' cannot read all nodes, only its own Node object", node));
  return refuse(fmt::format("node '{}' cannot read '{}', only its own Node object", node, request.name));
}

bool selects(const AccessRequest& request, std::string_view field, const std::string& value) {
  Result<api::FieldSelector> selector = api::FieldSelector::parse(request.field_selector);
  if (!selector.ok()) return false;
  return std::ranges::any_of(selector.value().terms(), [&](const api::FieldSelector::Term& term) {
    return term.equal && term.field == field && term.value == value;
  });
}

Verdict resource_slice(const std::string& node, const AccessRequest& request) {
  if (!request.subresource.empty()) return refuse("cannot authorize ResourceSlice subresources");
  if (one_of(request.verb, {"get", "create", "update", "patch", "delete"})) return allow();
  if (!one_of(request.verb, {"watch", "list", "deletecollection"}))
    return refuse("only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, "
                  "delete, deletecollection");
  if (selects(request, "spec.nodeName", node)) return allow();
  return refuse("can only list/watch/deletecollection resourceslices with nodeName field selector");
}

}  // namespace

Verdict NodeAuthorizer::authorize(const AccessRequest& request) const {
  constexpr std::string_view kPrefix = "system:node:";
  if (!request.user.name.starts_with(kPrefix) || !request.user.in_group("system:nodes")) return refuse();
  std::string node = request.user.name.substr(kPrefix.size());
  if (node.empty()) return refuse(fmt::format("unknown node for user \"{}\"", request.user.name));
  return decide(node, request);
}

Verdict NodeAuthorizer::decide(const std::string& node, const AccessRequest& request) const {
  if (request.is_resource && request.group.empty()) {
    if (one_of(request.resource, {"secrets", "configmaps"})) return read_in_namespace(node, request);
    if (request.resource == "persistentvolumeclaims" && request.subresource == "status") {
      if (!one_of(request.verb, {"get", "update", "patch"})) return refuse("can only get/update/patch this type");
      return related(node, request);
    }
    if (one_of(request.resource, {"persistentvolumeclaims", "persistentvolumes"})) return get_one(node, request);
    if (request.resource == "serviceaccounts") return service_account(node, request);
    if (request.resource == "nodes") return own_node(node, request);
    if (request.resource == "pods") return pod(node, request);
  }
  if (request.is_resource) {
    if (request.group == "storage.k8s.io" && request.resource == "volumeattachments") return get_one(node, request);
    if (request.group == "resource.k8s.io" && request.resource == "resourceclaims") return get_one(node, request);
    if (request.group == "resource.k8s.io" && request.resource == "resourceslices")
      return resource_slice(node, request);
    if (request.group == "coordination.k8s.io" && request.resource == "leases") return lease(node, request);
    if (request.group == "storage.k8s.io" && request.resource == "csinodes") return csi_node(node, request);
  }
  bool ruled = std::ranges::any_of(rules_, [&](const auto& rule) { return registry::allows(rule, request); });
  return ruled ? allow() : refuse();
}

Verdict NodeAuthorizer::related(const std::string& node, const AccessRequest& request) const {
  if (request.name.empty()) return refuse("No Object name found");
  client::ObjectKey key{std::string(request.namespace_), std::string(request.name)};
  if (node_needs(cluster_, node, request.resource, key)) return allow();
  return refuse(fmt::format("no relationship found between node '{}' and this object", node));
}

Verdict NodeAuthorizer::read_in_namespace(const std::string& node, const AccessRequest& request) const {
  if (!one_of(request.verb, {"get", "list", "watch"})) return refuse("can only read resources of this type");
  if (!request.subresource.empty()) return refuse("cannot read subresource");
  if (request.namespace_.empty()) return refuse("can only read namespaced object of this type");
  return related(node, request);
}

Verdict NodeAuthorizer::get_one(const std::string& node, const AccessRequest& request) const {
  if (request.verb != "get" || request.name.empty()) return refuse("can only get individual resources of this type");
  if (!request.subresource.empty()) return refuse("cannot get subresource");
  return related(node, request);
}

Verdict NodeAuthorizer::service_account(const std::string& node, const AccessRequest& request) const {
  if (request.verb == "get" && request.subresource.empty()) return get_one(node, request);
  if (request.verb != "create" || request.name.empty())
    return refuse("can only create tokens for individual service accounts");
  if (request.subresource != "token") return refuse("can only create token subresource of service account");
  return related(node, request);
}

Verdict NodeAuthorizer::pod(const std::string& node, const AccessRequest& request) const {
  if (request.subresource == "status") return one_of(request.verb, {"update", "patch"}) ? allow() : refuse();
  if (request.subresource == "eviction") return request.verb == "create" ? allow() : refuse();
  if (!request.subresource.empty()) return refuse();
  if (one_of(request.verb, {"create", "delete"})) return allow();
  if (request.verb == "get") return get_one(node, request);
  if (!one_of(request.verb, {"list", "watch"})) return refuse();
  if (selects(request, "spec.nodeName", node)) return allow();
  if (!request.name.empty()) return related(node, request);
  return refuse("can only list/watch pods with spec.nodeName field selector");
}

}  // namespace skiff::apiserver
