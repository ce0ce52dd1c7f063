// Users, groups, profiles and kernel parameters of pods and containers.

#include <algorithm>
#include <set>

#include "api/json.hpp"
#include "registry/kinds/containers.hpp"

namespace skiff::registry {
namespace {

using api::quote;

void check_id(const std::optional<std::int64_t>& id, const Path& path, FieldErrors& errors) {
  if (id) require_between(*id, 0, 2147483647, path, errors);
}

void check_seccomp(const api::SeccompProfile& profile, const Path& path, FieldErrors& errors) {
  if (profile.type.empty()) errors.required(path.child("type"), "type is required when seccompProfile is set");
  else check_one_of(profile.type, path.child("type"), {"Localhost", "RuntimeDefault", "Unconfined"}, errors);
  const Path file = path.child("localhostProfile");
  if (profile.type == "Localhost") {
    if (profile.localhostProfile.empty()) errors.required(file, "must be set when seccomp type is Localhost");
    else check_descending_path(profile.localhostProfile, file, errors);
  } else if (!profile.localhostProfile.empty()) {
    errors.invalid(file, api::to_json(profile), "can only be set when seccomp type is Localhost");
  }
}

void check_app_armor(const api::AppArmorProfile& profile, const Path& path, FieldErrors& errors) {
  const Path name = path.child("localhostProfile");
  const std::string& local = profile.localhostProfile;
  if (profile.type == "Localhost") {
    if (local.empty()) errors.required(name, "must be set when AppArmor type is Localhost");
    else if (local.find_first_of(" \t\r\n") == 0 || local.find_last_of(" \t\r\n") == local.size() - 1)
      errors.invalid(name, quote(local), "must not be padded with whitespace");
    if (local.size() > 4095) errors.too_long(name, 4095);
  } else if (profile.type.empty()) {
    errors.required(path.child("type"), "type is required when appArmorProfile is set");
  } else if (!is_one_of(profile.type, {"RuntimeDefault", "Unconfined"})) {
    errors.not_supported(path.child("type"), profile.type, {"Localhost", "RuntimeDefault", "Unconfined"});
  } else if (!local.empty()) {
    errors.invalid(name, quote(local), "can only be set when AppArmor type is Localhost");
  }
}

bool is_sysctl_name(std::string_view name) {
  auto edge = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (name.size() > 253) return false;
  for (size_t begin = 0; begin <= name.size();) {
    size_t end = std::min(name.find_first_of("./", begin), name.size());
    std::string_view part = name.substr(begin, end - begin);
    if (part.empty() || !edge(part.front()) || !edge(part.back())) return false;
    if (!std::all_of(part.begin(), part.end(), [&](char c) { return edge(c) || c == '-' || c == '_'; })) return false;
    begin = end + 1;
  }
  return true;
}

bool is_ipc_sysctl(std::string_view name) {
  return is_one_of(name, {"kernel.sem"}) || name.starts_with("kernel.shm") || name.starts_with("kernel.msg") ||
         name.starts_with("fs.mqueue.");
}

void check_sysctls(const std::vector<api::Sysctl>& sysctls, const api::PodSpec& spec, const Path& path,
                   FieldErrors& errors) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < sysctls.size(); ++i) {
    const std::string& name = sysctls[i].name;
    const Path step = path.child("sysctls", i);
    const Path at = step.child("name");
    if (name.empty()) errors.required(at);
    else if (!is_sysctl_name(name))
      errors.invalid(at, quote(name),
                     "must have at most 253 characters and match regex "
                     "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
    else if (!names.insert(name).second) errors.duplicate(at, quote(name));
    std::string dotted = name;
    std::replace(dotted.begin(), dotted.end(), '/', '.');
    if (spec.hostNetwork && dotted.starts_with("net."))
      errors.invalid(at, quote(name), "may not be specified when 'hostNetwork' is true");
    else if (spec.hostIPC && is_ipc_sysctl(dotted))
      errors.invalid(at, quote(name), "may not be specified when 'hostIPC' is true");
  }
}

}  // namespace

void check_security_context(const api::SecurityContext& context, bool host_users, const Path& path,
                            FieldErrors& errors) {
  check_id(context.runAsUser, path.child("runAsUser"), errors);
  check_id(context.runAsGroup, path.child("runAsGroup"), errors);
  if (!context.procMount.empty()) {
    check_one_of(context.procMount, path.child("procMount"), {"Default", "Unmasked"}, errors);
    if (host_users && context.procMount == "Unmasked")
      errors.invalid(path.child("procMount"), quote(context.procMount),
                     "`hostUsers` must be false to use `Unmasked`");
  }
  if (context.seccompProfile) check_seccomp(*context.seccompProfile, path.child("seccompProfile"), errors);
  if (!context.allowPrivilegeEscalation.value_or(true)) {
    auto refuse = [&](const char* what) {
      errors.invalid(path, api::to_json(context), fmt::format("cannot set `allowPrivilegeEscalation` to false and {}", what));
    };
    if (context.privileged.value_or(false)) refuse("`privileged` to true");
    if (context.capabilities)
      for (const std::string& capability : context.capabilities->add)
        if (capability == "CAP_SYS_ADMIN") refuse("`capabilities.Add` CAP_SYS_ADMIN");
  }
  if (context.appArmorProfile) check_app_armor(*context.appArmorProfile, path.child("appArmorProfile"), errors);
}

void check_pod_security_context(const api::PodSecurityContext& context, const api::PodSpec& spec, const Path& path,
                                FieldErrors& errors) {
  check_id(context.fsGroup, path.child("fsGroup"), errors);
  check_id(context.runAsUser, path.child("runAsUser"), errors);
  check_id(context.runAsGroup, path.child("runAsGroup"), errors);
  for (size_t i = 0; i < context.supplementalGroups.size(); ++i)
    check_id(context.supplementalGroups[i], path.child("supplementalGroups", i), errors);
  check_sysctls(context.sysctls, spec, path, errors);
  if (!context.fsGroupChangePolicy.empty())
    check_one_of(context.fsGroupChangePolicy, path.child("fsGroupChangePolicy"), {"Always", "OnRootMismatch"}, errors);
  if (context.seccompProfile) check_seccomp(*context.seccompProfile, path.child("seccompProfile"), errors);
  if (context.appArmorProfile) check_app_armor(*context.appArmorProfile, path.child("appArmorProfile"), errors);
  if (!context.supplementalGroupsPolicy.empty())
    check_one_of(context.supplementalGroupsPolicy, path.child("supplementalGroupsPolicy"), {"Merge", "Strict"}, errors);
  if (!context.seLinuxChangePolicy.empty())
    check_one_of(context.seLinuxChangePolicy, path.child("seLinuxChangePolicy"), {"MountOption", "Recursive"}, errors);
}

}  // namespace skiff::registry
