// Kinds that are questions: a create answers and stores nothing.

#include "api/gen/authentication.hpp"
#include "api/gen/authorization.hpp"
#include "api/gen/rbac.hpp"
#include "api/json.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"

namespace skiff::registry {
namespace {

// ---- Access reviews

template <class Attributes>
std::string as_json(const Attributes& attributes) {
  return attributes ? api::to_json(*attributes) : "null";
}

template <class Spec>
void validate_attributes(const Spec& spec, api::FieldErrors& errors) {
  if (spec.resourceAttributes && spec.nonResourceAttributes)
    errors.invalid("spec.nonResourceAttributes", as_json(spec.nonResourceAttributes),
                   "cannot be specified in combination with resourceAttributes");
  if (!spec.resourceAttributes && !spec.nonResourceAttributes)
    errors.invalid("spec.resourceAttributes", "null",
                   "exactly one of nonResourceAttributes or resourceAttributes must be specified");
}

template <class Selector>
void validate_selector(const Selector& selector, const std::string& path, api::FieldErrors& errors) {
  if (!selector) return;
  if (!selector->rawSelector.empty() && !selector->requirements.empty())
    errors.invalid(path + ".rawSelector", api::quote(selector->rawSelector),
                   "may not specified at the same time as requirements");
  if (selector->rawSelector.empty() && selector->requirements.empty())
    errors.required(path + ".requirements", "when " + path + " is specified, requirements or rawSelector is required");
}

template <class Spec>
void validate_access(const Spec& spec, api::FieldErrors& errors) {
  validate_attributes(spec, errors);
  if (!spec.resourceAttributes) return;
  validate_selector(spec.resourceAttributes->fieldSelector, "spec.resourceAttributes.fieldSelector", errors);
  validate_selector(spec.resourceAttributes->labelSelector, "spec.resourceAttributes.labelSelector", errors);
}

void validate_subject(const api::SubjectAccessReviewSpec& spec, api::FieldErrors& errors) {
  validate_access(spec, errors);
  if (spec.user.empty() && spec.groups.empty())
    errors.invalid("spec.user", "\"\"", "at least one of user or group must be specified");
}

void validate_metadata_empty(const api::ObjectMeta& metadata, bool but_namespace, api::FieldErrors& errors) {
  api::ObjectMeta rest = metadata;
  rest.managedFields.clear();
  if (but_namespace) rest.namespace_.clear();
  if (rest != api::ObjectMeta())
    errors.invalid("metadata", api::to_json(metadata),
                   but_namespace ? "must be empty except for namespace" : "must be empty");
}

// "a=b,c!=d" of the requirements that say so; others only narrow what is asked.
std::string field_selector_text(const api::ResourceAttributes& attributes) {
  if (!attributes.fieldSelector) return "";
  if (!attributes.fieldSelector->rawSelector.empty()) return attributes.fieldSelector->rawSelector;
  std::string text;
  for (const auto& requirement : attributes.fieldSelector->requirements) {
    if (requirement.values.size() != 1) continue;
    text += (text.empty() ? "" : ",") + requirement.key + (requirement.operator_ == "In" ? "=" : "!=") +
            requirement.values[0];
  }
  return text;
}

template <class Spec>
void decide(const Spec& spec, const User& user, const Authorizer& authorizer, api::SubjectAccessReviewStatus& status) {
  AccessRequest request{.user = user, .verb = "", .is_resource = bool(spec.resourceAttributes)};
  std::string fields;
  if (spec.resourceAttributes) {
    const api::ResourceAttributes& what = *spec.resourceAttributes;
    fields = field_selector_text(what);
    request.verb = what.verb;
    request.group = what.group;
    request.version = what.version;
    request.resource = what.resource;
    request.subresource = what.subresource;
    request.name = what.name;
    request.namespace_ = what.namespace_;
    request.field_selector = fields;
  } else {
    request.verb = spec.nonResourceAttributes->verb;
    request.path = spec.nonResourceAttributes->path;
  }
  Verdict verdict = authorizer.authorize(request);
  status.allowed = verdict.allowed();
  status.denied = verdict.decision == Decision::Deny;
  status.reason = verdict.reason;
  status.evaluationError = verdict.evaluation_error;
}

template <class Review>
Status refused(const api::FieldErrors& errors) {
  return errors.empty() ? ok() : Status(api::invalid(api::kind_of<Review>(), "", errors));
}

Status self_access(api::SelfSubjectAccessReview& review, StrategyContext& context) {
  api::FieldErrors errors;
  validate_access(review.spec, errors);
  validate_metadata_empty(review.metadata, false, errors);
  TRY(refused<api::SelfSubjectAccessReview>(errors));
  decide(review.spec, context.request.user, context.authorizer, review.status);
  return ok();
}

User subject_of(const api::SubjectAccessReviewSpec& spec) { return {spec.user, spec.uid, spec.groups, spec.extra}; }

Status subject_access(api::SubjectAccessReview& review, StrategyContext& context) {
  api::FieldErrors errors;
  validate_subject(review.spec, errors);
  validate_metadata_empty(review.metadata, false, errors);
  TRY(refused<api::SubjectAccessReview>(errors));
  decide(review.spec, subject_of(review.spec), context.authorizer, review.status);
  return ok();
}

Status local_access(api::LocalSubjectAccessReview& review, StrategyContext& context) {
  api::FieldErrors errors;
  validate_subject(review.spec, errors);
  validate_metadata_empty(review.metadata, true, errors);
  const auto& what = review.spec.resourceAttributes;
  if (what && what->namespace_ != review.metadata.namespace_)
    errors.invalid("spec.resourceAttributes.namespace", api::quote(what->namespace_), "must match metadata.namespace");
  if (review.spec.nonResourceAttributes)
    errors.invalid("spec.nonResourceAttributes", as_json(review.spec.nonResourceAttributes),
                   "disallowed on this kind of request");
  TRY(refused<api::LocalSubjectAccessReview>(errors));
  decide(review.spec, subject_of(review.spec), context.authorizer, review.status);
  return ok();
}

// ---- Rules

Status list_rules(api::SelfSubjectRulesReview& review, StrategyContext& context) {
  if (review.spec.namespace_.empty()) return api::bad_request("no namespace on request");
  SubjectRules rules = context.authorizer.rules_for(context.request.user, review.spec.namespace_);
  for (const api::PolicyRule& rule : rules.rules) {
    if (!rule.resources.empty()) {
      api::ResourceRule& out = review.status.resourceRules.emplace_back();
      out.verbs = rule.verbs;
      out.apiGroups = rule.apiGroups;
      out.resources = rule.resources;
      out.resourceNames = rule.resourceNames;
    }
    if (!rule.nonResourceURLs.empty()) {
      api::NonResourceRule& out = review.status.nonResourceRules.emplace_back();
      out.verbs = rule.verbs;
      out.nonResourceURLs = rule.nonResourceURLs;
    }
  }
  review.status.incomplete = rules.incomplete;
  review.status.evaluationError = rules.evaluation_error;
  return ok();
}

// ---- Identity

api::UserInfo user_info(const User& user) {
  api::UserInfo info;
  info.username = user.name;
  info.uid = user.uid;
  info.groups = user.groups;
  info.extra = user.extra;
  return info;
}

Status who_am_i(api::SelfSubjectReview& review, StrategyContext& context) {
  review.status.userInfo = user_info(context.request.user);
  return ok();
}

Status review_token(api::TokenReview& review, StrategyContext& context) {
  if (review.spec.token.empty()) return api::bad_request("token is required for TokenReview in authentication");
  review.status = {};
  if (context.tokens == nullptr) {
    review.status.error = "no token authenticator is configured";
    return ok();
  }
  Result<TokenIdentity> identity = context.tokens->authenticate_token(review.spec.token, review.spec.audiences);
  if (!identity.ok()) {
    review.status.error = identity.error().message();
    return ok();
  }
  review.status.authenticated = true;
  review.status.user = user_info(identity.value().user);
  review.status.audiences = identity.value().audiences;
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
  return {question(self_access),  question(subject_access), question(local_access),
          question(list_rules),   question(who_am_i),       question(review_token)};
}

}  // namespace skiff::registry
