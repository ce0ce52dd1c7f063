#include "apiserver/impersonate.hpp"

#include "api/status.hpp"
#include "apiserver/authenticate.hpp"
#include "apiserver/authorize.hpp"
#include "base/encoding.hpp"

namespace skiff::apiserver {

using registry::AccessRequest;
using registry::User;

namespace {

constexpr std::string_view kAccount = "system:serviceaccount:";

User asked_for(const Request& request) {
  User wanted;
  wanted.name = request.header("Impersonate-User");
  wanted.uid = request.header("Impersonate-Uid");
  auto [begin, end] = request.headers.equal_range("Impersonate-Group");
  for (auto header = begin; header != end; ++header) wanted.groups.push_back(header->second);
  wanted.extra = extra_headers(request, "Impersonate-Extra-");
  return wanted;
}

// What is impersonated, as a resource.
struct Part {
  std::string_view group, resource, subresource, namespace_, name;
};

std::vector<std::string_view> account_parts(std::string_view name) {
  if (!name.starts_with(kAccount)) return {};
  name.remove_prefix(kAccount.size());
  size_t colon = name.find(':');
  if (colon == name.npos || colon == 0 || colon + 1 == name.size()) return {};
  return {name.substr(0, colon), name.substr(colon + 1)};
}

std::vector<Part> parts_of(const User& wanted) {
  std::vector<Part> parts;
  std::vector<std::string_view> account = account_parts(wanted.name);
  if (account.empty()) parts.push_back({"", "users", "", "", wanted.name});
  else parts.push_back({"", "serviceaccounts", "", account[0], account[1]});
  for (const std::string& group : wanted.groups) parts.push_back({"", "groups", "", "", group});
  for (const auto& [key, values] : wanted.extra)
    for (const std::string& value : values) parts.push_back({"authentication.k8s.io", "userextras", key, "", value});
  if (!wanted.uid.empty()) parts.push_back({"authentication.k8s.io", "uids", "", "", wanted.uid});
  return parts;
}

void complete_groups(User& wanted) {
  std::vector<std::string_view> account = account_parts(wanted.name);
  if (!account.empty() && wanted.groups.empty())
    wanted.groups = {"system:serviceaccounts", "system:serviceaccounts:" + std::string(account[0])};
  if (wanted.in_group("system:authenticated") || wanted.in_group("system:unauthenticated")) return;
  wanted.groups.emplace_back(wanted.name == "system:anonymous" ? "system:unauthenticated" : "system:authenticated");
}

}  // namespace

Result<User> impersonate(const Request& request, User user, const registry::Authorizer& authorizer) {
  auto first = request.headers.lower_bound("Impersonate-");
  bool any = first != request.headers.end() && ::strncasecmp(first->first.c_str(), "Impersonate-", 12) == 0;
  if (!any) return user;
  User wanted = asked_for(request);
  if (wanted.name.empty()) {
    if (wanted.groups.empty() && wanted.extra.empty() && wanted.uid.empty()) return user;
    return Error(Code::Internal, "requested impersonation without impersonating a user name");
  }
  for (const Part& part : parts_of(wanted))
    TRY(authorize(authorizer, AccessRequest{.user = user,
                                            .verb = "impersonate",
                                            .group = part.group,
                                            .version = part.group.empty() ? "" : "v1",
                                            .resource = part.resource,
                                            .subresource = part.subresource,
                                            .name = part.name,
                                            .namespace_ = part.namespace_}));
  complete_groups(wanted);
  return wanted;
}

}  // namespace skiff::apiserver
