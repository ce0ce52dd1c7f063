#include "controllers/namespace_conditions.hpp"

#include <fmt/core.h>

#include <algorithm>

namespace skiff::controllers {
namespace {

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

struct Finding {
  const char* type;
  bool bad;
  const char* bad_reason;
  std::string bad_message;
  const char* good_reason;
  const char* good_message;
};

std::string remaining_message(const NamespaceContent& content) {
  std::vector<std::string> parts;
  for (const auto& [resource, count] : content.remaining)
    parts.push_back(fmt::format("{} has {} resource instances", resource, count));
  return "Some resources are remaining: " + joined(parts);
}

std::string finalizers_message(const NamespaceContent& content) {
  std::vector<std::string> parts;
  for (const auto& [finalizer, count] : content.finalizers)
    parts.push_back(fmt::format("{} in {} resource instances", finalizer, count));
  return "Some content in the namespace has finalizers remaining: " + joined(parts);
}

std::string failure_message(const NamespaceContent& content) {
  std::vector<std::string> errors = content.errors;
  std::sort(errors.begin(), errors.end());
  return fmt::format("Failed to delete all resource types, {} remaining: {}", errors.size(), joined(errors));
}

std::vector<Finding> findings(const NamespaceContent& content) {
  return {
      {"NamespaceDeletionDiscoveryFailure", false, "", "", "ResourcesDiscovered",
       "All resources successfully discovered"},
      {"NamespaceDeletionGroupVersionParsingFailure", false, "", "", "ParsedGroupVersions",
       "All legacy kube types successfully parsed"},
      {"NamespaceDeletionContentFailure", !content.errors.empty(), "ContentDeletionFailed",
       failure_message(content), "ContentDeleted",
       "All content successfully deleted, may be waiting on finalization"},
      {"NamespaceContentRemaining", !content.remaining.empty(), "SomeResourcesRemain",
       remaining_message(content), "ContentRemoved", "All content successfully removed"},
      {"NamespaceFinalizersRemaining", !content.finalizers.empty(), "SomeFinalizersRemain",
       finalizers_message(content), "ContentHasNoFinalizers", "All content-preserving finalizers finished"},
  };
}

bool set_condition(api::NamespaceStatus& status, api::NamespaceCondition condition) {
  for (api::NamespaceCondition& known : status.conditions) {
    if (known.type != condition.type) continue;
    bool same = known.status == condition.status && known.reason == condition.reason &&
                known.message == condition.message;
    if (known.status == condition.status) condition.lastTransitionTime = known.lastTransitionTime;
    if (!same) known = std::move(condition);
    return !same;
  }
  status.conditions.push_back(std::move(condition));
  return true;
}

}  // namespace

int NamespaceContent::total() const {
  int sum = 0;
  for (const auto& [resource, count] : remaining) sum += count;
  return sum;
}

bool set_deletion_conditions(api::NamespaceStatus& status, const NamespaceContent& content, api::Time now) {
  bool changed = false;
  for (const Finding& finding : findings(content)) {
    api::NamespaceCondition condition;
    condition.type = finding.type;
    condition.status = finding.bad ? "True" : "False";
    condition.reason = finding.bad ? finding.bad_reason : finding.good_reason;
    condition.message = finding.bad ? finding.bad_message : finding.good_message;
    condition.lastTransitionTime = now;
    changed |= set_condition(status, std::move(condition));
  }
  return changed;
}

}  // namespace skiff::controllers
