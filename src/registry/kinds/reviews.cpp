// Kinds that are questions: a create answers and stores nothing. Every authenticated user may do everything until RBAC
// arrives, and the access reviews say so.

#include "api/gen/authentication.hpp"
#include "api/gen/authorization.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"

namespace skiff::registry {
namespace {

template <class Review>
Status allow(Review& review, StrategyContext&) {
  review.status.allowed = true;
  return ok();
}

Status list_rules(api::SelfSubjectRulesReview& review, StrategyContext&) {
  api::ResourceRule& resources = review.status.resourceRules.emplace_back();
  resources.verbs = resources.apiGroups = resources.resources = {"*"};
  api::NonResourceRule& urls = review.status.nonResourceRules.emplace_back();
  urls.verbs = urls.nonResourceURLs = {"*"};
  return ok();
}

Status who_am_i(api::SelfSubjectReview& review, StrategyContext& context) {
  api::UserInfo& user = review.status.userInfo.ensure();
  user.username = context.request.user.name;
  user.groups = context.request.user.groups;
  return ok();
}

template <class T>
Resource question(Status (*answer)(T&, StrategyContext&)) {
  Rules<T> rules;
  rules.answer = answer;
  return define(rules);
}

}  // namespace

std::vector<Resource> reviews() {
  return {question<api::SelfSubjectAccessReview>(allow<api::SelfSubjectAccessReview>),
          question<api::SubjectAccessReview>(allow<api::SubjectAccessReview>),
          question<api::LocalSubjectAccessReview>(allow<api::LocalSubjectAccessReview>),
          question<api::SelfSubjectRulesReview>(list_rules), question<api::SelfSubjectReview>(who_am_i)};
}

}  // namespace skiff::registry
