#include "registry/authorizer.hpp"

#include <algorithm>

#include "api/gen/rbac.hpp"

namespace skiff::registry {

bool User::in_group(std::string_view group) const { return std::ranges::find(groups, group) != groups.end(); }

SubjectRules::SubjectRules() = default;
SubjectRules::SubjectRules(SubjectRules&&) noexcept = default;
SubjectRules& SubjectRules::operator=(SubjectRules&&) noexcept = default;
SubjectRules::~SubjectRules() = default;

namespace {

class AlwaysAllow final : public Authorizer {
 public:
  Verdict authorize(const AccessRequest&) const override { return {Decision::Allow, "", ""}; }
  SubjectRules rules_for(const User&, const std::string&) const override {
    SubjectRules all;
    api::PolicyRule& resources = all.rules.emplace_back();
    resources.verbs = resources.apiGroups = resources.resources = {"*"};
    api::PolicyRule& paths = all.rules.emplace_back();
    paths.verbs = paths.nonResourceURLs = {"*"};
    return all;
  }
};

}  // namespace

const Authorizer& always_allow() {
  static const AlwaysAllow kInstance;
  return kInstance;
}

}  // namespace skiff::registry
