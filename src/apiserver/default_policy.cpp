#include "apiserver/default_policy.hpp"

#include <algorithm>

#include "apiserver/default_policy_data.hpp"
#include "base/encoding.hpp"
#include "registry/rbac_rules.hpp"

namespace skiff::apiserver {

namespace {

constexpr char kGroup[] = "rbac.authorization.k8s.io";
constexpr char kAutoUpdate[] = "rbac.authorization.kubernetes.io/autoupdate";
constexpr char kAggregateTo[] = "rbac.authorization.k8s.io/aggregate-to-";
constexpr char kControllerPrefix[] = "system:controller:";
constexpr char kSystem[] = "kube-system";

using Words = std::vector<std::string>;

Words words_of(const std::string& line) {
  Words words = split(line, ' ');
  std::erase(words, "");
  return words;
}

Words verbs_of(const std::string& word) {
  if (word == "read") return {"get", "list", "watch"};
  if (word == "write") return {"create", "delete", "deletecollection", "patch", "update"};
  if (word == "all") return {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"};
  return split(word, ',');
}

api::PolicyRule rule_of(const Words& words) {
  api::PolicyRule rule;
  if (words[0] == "events") {
    rule.verbs = {"create", "patch", "update"};
    rule.apiGroups = {"", "events.k8s.io"};
    rule.resources = {"events"};
    return rule;
  }
  rule.verbs = verbs_of(words[0]);
  if (words.size() == 2) {
    rule.nonResourceURLs = split(words[1], ',');
    return rule;
  }
  rule.apiGroups = split(words[1], ',');
  std::ranges::replace(rule.apiGroups, "core", "");
  rule.resources = split(words[2], ',');
  if (words.size() > 3) rule.resourceNames = split(words[3].substr(1), ',');
  return rule;
}

api::ObjectMeta metadata_of(const std::string& name, const std::string& namespace_ = "") {
  api::ObjectMeta metadata;
  metadata.name = name;
  metadata.namespace_ = namespace_;
  metadata.labels["kubernetes.io/bootstrapping"] = "rbac-defaults";
  metadata.annotations[kAutoUpdate] = "true";
  return metadata;
}

api::ClusterRole cluster_role(const Words& head) {
  api::ClusterRole role;
  role.metadata = metadata_of(head[0]);
  for (const std::string& word : head) {
    if (word[0] == '+') role.metadata.labels[kAggregateTo + word.substr(1)] = "true";
    if (word[0] == '<')
      role.aggregationRule.emplace().clusterRoleSelectors.emplace_back().matchLabels[kAggregateTo + word.substr(1)] =
          "true";
  }
  return role;
}

void add_roles(const char* text, DefaultPolicy& policy) {
  std::vector<api::PolicyRule>* rules = nullptr;
  for (const std::string& line : split(text, '\n')) {
    Words words = words_of(line);
    if (words.empty()) continue;
    if (line[0] == ' ') {
      rules->push_back(rule_of(words));
    } else if (words.size() > 1 && words[1][0] == '@') {
      api::Role& role = policy.roles.emplace_back();
      role.metadata = metadata_of(words[0], words[1].substr(1));
      rules = &role.rules;
    } else {
      rules = &policy.cluster_roles.emplace_back(cluster_role(words)).rules;
    }
  }
}

api::RoleRef reference(const char* kind, const std::string& name) {
  api::RoleRef ref;
  ref.apiGroup = kGroup;
  ref.kind = kind;
  ref.name = name;
  return ref;
}

api::Subject subject_of(const std::string& word) {
  size_t colon = word.find(':');
  std::string kind = word.substr(0, colon);
  api::Subject subject;
  subject.name = word.substr(colon + 1);
  subject.kind = kind == "user" ? "User" : kind == "group" ? "Group" : "ServiceAccount";
  if (kind == "account") subject.namespace_ = kSystem;
  else subject.apiGroup = kGroup;
  return subject;
}

void add_bindings(DefaultPolicy& policy) {
  for (const std::string& line : split(kBindingsText, '\n')) {
    Words words = words_of(line);
    if (words.empty()) continue;
    std::vector<api::Subject> subjects;
    for (size_t i = 2; i < words.size(); ++i) subjects.push_back(subject_of(words[i]));
    size_t at = words[0].find('@');
    if (at == std::string::npos) {
      api::ClusterRoleBinding& binding = policy.cluster_bindings.emplace_back();
      binding.metadata = metadata_of(words[0]);
      binding.roleRef = reference("ClusterRole", words[1]);
      binding.subjects = std::move(subjects);
    } else {
      api::RoleBinding& binding = policy.bindings.emplace_back();
      binding.metadata = metadata_of(words[0].substr(0, at), words[0].substr(at + 1));
      binding.roleRef = reference("Role", words[1]);
      binding.subjects = std::move(subjects);
    }
  }
}

void add_controllers(DefaultPolicy& policy) {
  size_t before = policy.cluster_roles.size();
  add_roles(kControllerRolesText, policy);
  for (size_t i = before; i < policy.cluster_roles.size(); ++i) {
    const std::string& name = policy.cluster_roles[i].metadata.name;
    api::ClusterRoleBinding& binding = policy.cluster_bindings.emplace_back();
    binding.metadata = metadata_of(name);
    binding.roleRef = reference("ClusterRole", name);
    binding.subjects = {subject_of("account:" + name.substr(sizeof kControllerPrefix - 1))};
  }
}

// ---- Reconciling

bool add_missing(std::map<std::string, std::string>& have, const std::map<std::string, std::string>& wanted) {
  bool added = false;
  for (const auto& [key, value] : wanted) added = have.try_emplace(key, value).second || added;
  return added;
}

template <class T>
bool add_missing_rules(T& have, const T& wanted) {
  std::vector<api::PolicyRule> missing = registry::compact(registry::uncovered(have.rules, wanted.rules));
  have.rules.insert(have.rules.end(), missing.begin(), missing.end());
  return !missing.empty();
}

template <class T>
bool add_missing_subjects(T& have, const T& wanted) {
  bool added = false;
  for (const api::Subject& subject : wanted.subjects) {
    if (std::ranges::find(have.subjects, subject) != have.subjects.end()) continue;
    have.subjects.push_back(subject);
    added = true;
  }
  return added;
}

bool add_missing(api::ClusterRole& have, const api::ClusterRole& wanted) {
  if (!wanted.aggregationRule) return !have.aggregationRule && add_missing_rules(have, wanted);
  if (have.aggregationRule) return false;
  have.aggregationRule = wanted.aggregationRule;
  return true;
}
bool add_missing(api::Role& have, const api::Role& wanted) { return add_missing_rules(have, wanted); }
bool add_missing(api::ClusterRoleBinding& have, const api::ClusterRoleBinding& wanted) {
  return add_missing_subjects(have, wanted);
}
bool add_missing(api::RoleBinding& have, const api::RoleBinding& wanted) { return add_missing_subjects(have, wanted); }

// What is to be done for `wanted`; nothing when the object is as it should be.
template <class T>
void plan(client::Client& client, const T& wanted, std::vector<client::Task>& tasks) {
  Result<client::Ref<T>> present = client.get<T>(client::key_of(wanted));
  if (!present.ok()) {
    tasks.push_back([&client, &wanted]() -> Status {
      Result<client::Ref<T>> created = client.create(wanted);
      if (created.ok() || created.error().code() == Code::AlreadyExists) return ok();
      return std::move(created).error();
    });
    return;
  }
  T next = *present.value();
  auto mark = next.metadata.annotations.find(kAutoUpdate);
  if (mark != next.metadata.annotations.end() && mark->second == "false") return;
  bool labels = add_missing(next.metadata.labels, wanted.metadata.labels);
  bool annotations = add_missing(next.metadata.annotations, wanted.metadata.annotations);
  if (!add_missing(next, wanted) && !labels && !annotations) return;
  tasks.push_back([&client, next]() -> Status {
    TRY(client.update(next));
    return ok();
  });
}

}  // namespace

DefaultPolicy default_policy() {
  DefaultPolicy policy;
  add_roles(kRolesText, policy);
  add_bindings(policy);
  add_controllers(policy);
  return policy;
}

std::vector<client::Task> reconcile_default_policy(client::Client& client, const DefaultPolicy& policy) {
  std::vector<client::Task> tasks;
  for (const auto& wanted : policy.cluster_roles) plan(client, wanted, tasks);
  for (const auto& wanted : policy.cluster_bindings) plan(client, wanted, tasks);
  for (const auto& wanted : policy.roles) plan(client, wanted, tasks);
  for (const auto& wanted : policy.bindings) plan(client, wanted, tasks);
  return tasks;
}

}  // namespace skiff::apiserver
