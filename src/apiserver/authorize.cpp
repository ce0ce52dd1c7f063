#include "apiserver/authorize.hpp"

#include "api/selector.hpp"
#include "api/status.hpp"
#include "apiserver/default_policy.hpp"

namespace skiff::apiserver {

using registry::AccessRequest;
using registry::Decision;
using registry::User;
using registry::Verdict;

namespace {

std::vector<api::PolicyRule> node_rules() {
  for (api::ClusterRole& role : default_policy().cluster_roles)
    if (role.metadata.name == "system:node") return std::move(role.rules);
  return {};
}

// As Kubernetes' sanitizer: the text may end up in a browser.
std::string sanitized(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else out.push_back(c);
  }
  return out;
}

std::string refusal_text(const AccessRequest& request) {
  std::string who = api::quote(request.user.name);
  if (!request.is_resource) return fmt::format("User {} cannot {} path {}", who, request.verb, api::quote(request.path));
  std::string resource(request.resource);
  if (!request.subresource.empty()) resource += "/" + std::string(request.subresource);
  std::string what = fmt::format("User {} cannot {} resource {} in API group {}", who, request.verb,
                                 api::quote(resource), api::quote(request.group));
  if (request.namespace_.empty()) return what + " at the cluster scope";
  return what + " in the namespace " + api::quote(request.namespace_);
}

}  // namespace

AccessControl::AccessControl(client::Client& cluster, std::unique_ptr<Rbac> rbac)
    : node_(cluster, node_rules()), rbac_(std::move(rbac)) {}

Result<std::unique_ptr<AccessControl>> AccessControl::create(const registry::Registry& registry,
                                                             client::Client& cluster) {
  TRY_ASSIGN(std::unique_ptr<Rbac> rbac, Rbac::create(registry));
  return std::unique_ptr<AccessControl>(new AccessControl(cluster, std::move(rbac)));
}

Verdict AccessControl::authorize(const AccessRequest& request) const {
  if (request.user.is_master()) return {Decision::Allow, "", ""};
  Verdict node = node_.authorize(request);
  if (node.allowed()) return node;
  Verdict rbac = rbac_->authorize(request);
  if (rbac.allowed() || node.reason.empty()) return rbac;
  rbac.reason = rbac.reason.empty() ? node.reason : node.reason + "\n" + rbac.reason;
  return rbac;
}

registry::SubjectRules AccessControl::rules_for(const User& user, const std::string& namespace_) const {
  registry::SubjectRules rules = rbac_->rules_for(user, namespace_);
  if (!user.name.starts_with("system:node:") || !user.in_group("system:nodes")) return rules;
  constexpr char kUnknown[] = "node authorizer does not support user rule resolution";
  rules.incomplete = true;
  rules.evaluation_error = rules.evaluation_error.empty()
                               ? kUnknown
                               : fmt::format("[{}, {}]", kUnknown, rules.evaluation_error);
  return rules;
}

AccessRequest access_request(const Request& request, const RequestInfo& info, const User& user) {
  AccessRequest access{.user = user, .verb = info.verb, .is_resource = info.is_resource, .path = info.path};
  if (!info.is_resource) return access;
  access.group = info.group;
  access.version = info.version;
  access.resource = info.resource;
  access.subresource = info.subresource;
  access.name = info.name;
  access.namespace_ = info.namespace_;
  if (info.verb == "list" || info.verb == "watch" || info.verb == "deletecollection")
    access.field_selector = request.parameter("fieldSelector");
  // A list that can only hold one object is about that object.
  constexpr std::string_view kByName = "metadata.name=";
  if (info.name.empty() && access.field_selector.starts_with(kByName) &&
      access.field_selector.find_first_of(",=", kByName.size()) == std::string_view::npos)
    access.name = access.field_selector.substr(kByName.size());
  return access;
}

Error forbidden(const AccessRequest& request, const Verdict& verdict) {
  std::string why = sanitized(refusal_text(request));
  if (!verdict.reason.empty()) why += ": " + verdict.reason;
  auto detail = std::make_shared<api::StatusDetail>();
  detail->group = request.group;
  detail->kind = request.resource;
  detail->name = request.name;
  if (request.resource.empty()) return Error(Code::Forbidden, "forbidden: " + why).with(std::move(detail));
  std::string resource(request.resource);
  if (!request.group.empty()) resource += "." + std::string(request.group);
  std::string named = request.name.empty() ? resource : resource + " " + api::quote(request.name);
  return Error(Code::Forbidden, named + " is forbidden: " + why).with(std::move(detail));
}

Status authorize(const registry::Authorizer& authorizer, const AccessRequest& request) {
  Verdict verdict = authorizer.authorize(request);
  if (verdict.allowed()) return ok();
  return forbidden(request, verdict);
}

}  // namespace skiff::apiserver
