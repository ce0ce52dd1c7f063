#include "registry/rbac_rules.hpp"

#include <algorithm>
#include <map>
#include <tuple>

#include "api/status.hpp"
#include "base/encoding.hpp"

namespace skiff::registry {
namespace {

using Strings = std::vector<std::string>;

bool has(const Strings& items, std::string_view item) { return std::ranges::find(items, item) != items.end(); }
bool has_or_star(const Strings& items, std::string_view item) { return has(items, "*") || has(items, item); }

bool covers_all(const Strings& owner, const Strings& wanted) {
  return has(owner, "*") || std::ranges::all_of(wanted, [&](const std::string& item) { return has(owner, item); });
}

bool resource_matches(const Strings& rule, std::string_view resource, std::string_view subresource) {
  for (const std::string& item : rule) {
    if (item == "*") return true;
    std::string_view text = item;
    if (subresource.empty()) {
      if (text == resource) return true;
      continue;
    }
    size_t slash = text.find('/');
    if (slash == text.npos || text.substr(slash + 1) != subresource) continue;
    if (std::string_view parent = text.substr(0, slash); parent == "*" || parent == resource) return true;
  }
  return false;
}

bool path_matches(const Strings& rule, std::string_view path) {
  return std::ranges::any_of(rule, [&](std::string_view item) {
    if (item == "*" || item == path) return true;
    if (!item.ends_with('*')) return false;
    while (item.ends_with('*')) item.remove_suffix(1);
    return path.starts_with(item);
  });
}

bool resources_cover(const Strings& owner, const Strings& wanted) {
  return std::ranges::all_of(wanted, [&](std::string_view item) {
    if (has_or_star(owner, item)) return true;
    size_t slash = item.find('/');
    return slash != item.npos && has(owner, "*" + std::string(item.substr(slash)));
  });
}

bool paths_cover(const Strings& owner, const Strings& wanted) {
  return std::ranges::all_of(wanted, [&](const std::string& item) { return path_matches(owner, item); });
}

bool names_cover(const Strings& owner, const Strings& wanted) {
  return owner.empty() || (!wanted.empty() && covers_all(owner, wanted));
}

bool covers(const api::PolicyRule& owner, const api::PolicyRule& wanted) {
  return covers_all(owner.verbs, wanted.verbs) && covers_all(owner.apiGroups, wanted.apiGroups) &&
         resources_cover(owner.resources, wanted.resources) &&
         paths_cover(owner.nonResourceURLs, wanted.nonResourceURLs) &&
         names_cover(owner.resourceNames, wanted.resourceNames);
}

api::PolicyRule resource_rule(const std::string& group, const std::string& resource, const std::string& verb) {
  api::PolicyRule rule;
  rule.verbs = {verb};
  rule.apiGroups = {group};
  rule.resources = {resource};
  return rule;
}

void break_down(const api::PolicyRule& rule, std::vector<api::PolicyRule>& out) {
  for (const std::string& group : rule.apiGroups)
    for (const std::string& resource : rule.resources)
      for (const std::string& verb : rule.verbs) {
        if (rule.resourceNames.empty()) out.push_back(resource_rule(group, resource, verb));
        for (const std::string& name : rule.resourceNames)
          out.emplace_back(resource_rule(group, resource, verb)).resourceNames = {name};
      }
  for (const std::string& path : rule.nonResourceURLs)
    for (const std::string& verb : rule.verbs) {
      api::PolicyRule& one = out.emplace_back();
      one.verbs = {verb};
      one.nonResourceURLs = {path};
    }
}

}  // namespace

bool allows(const api::PolicyRule& rule, const AccessRequest& request) {
  if (!has_or_star(rule.verbs, request.verb)) return false;
  if (!request.is_resource) return path_matches(rule.nonResourceURLs, request.path);
  return has_or_star(rule.apiGroups, request.group) &&
         resource_matches(rule.resources, request.resource, request.subresource) &&
         (rule.resourceNames.empty() || has(rule.resourceNames, request.name));
}

std::vector<api::PolicyRule> uncovered(const std::vector<api::PolicyRule>& held,
                                       const std::vector<api::PolicyRule>& wanted) {
  std::vector<api::PolicyRule> single;
  for (const api::PolicyRule& rule : wanted) break_down(rule, single);
  std::erase_if(single, [&](const api::PolicyRule& one) {
    return std::ranges::any_of(held, [&](const api::PolicyRule& owner) { return covers(owner, one); });
  });
  return single;
}

std::vector<api::PolicyRule> compact(const std::vector<api::PolicyRule>& rules) {
  std::vector<api::PolicyRule> out;
  std::map<std::tuple<Strings, Strings, Strings>, size_t> places;
  for (const api::PolicyRule& rule : rules) {
    bool simple = rule.apiGroups.size() == 1 && rule.resources.size() == 1 && rule.resourceNames.size() <= 1 &&
                  rule.nonResourceURLs.empty();
    auto [place, fresh] = places.try_emplace({rule.apiGroups, rule.resources, rule.resourceNames}, out.size());
    if (!simple || fresh) {
      out.push_back(rule);
      continue;
    }
    Strings& verbs = out[place->second].verbs;
    verbs.insert(verbs.end(), rule.verbs.begin(), rule.verbs.end());
  }
  return out;
}

std::string quoted_list(const Strings& items) {
  Strings quoted;
  for (const std::string& item : items) quoted.push_back(api::quote(item));
  return "[" + join(quoted, " ") + "]";
}

std::string describe(const api::PolicyRule& rule) {
  Strings parts;
  auto add = [&](const char* name, const Strings& items) {
    if (!items.empty()) parts.push_back(name + quoted_list(items));
  };
  add("APIGroups:", rule.apiGroups);
  add("Resources:", rule.resources);
  add("NonResourceURLs:", rule.nonResourceURLs);
  add("ResourceNames:", rule.resourceNames);
  add("Verbs:", rule.verbs);
  return "{" + join(parts, ", ") + "}";
}

}  // namespace skiff::registry
