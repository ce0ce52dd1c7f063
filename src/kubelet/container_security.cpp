#include "kubelet/container_security.hpp"

#include <algorithm>

#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

const api::SecurityContext& context_of(const api::Container& container) {
  static const api::SecurityContext none;
  return container.securityContext ? *container.securityContext : none;
}

const api::PodSecurityContext& context_of(const api::Pod& pod) {
  static const api::PodSecurityContext none;
  return pod.spec.securityContext ? *pod.spec.securityContext : none;
}

bool is_number(const std::string& text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) { return c >= '0' && c <= '9'; });
}

Status check_non_root(const ContainerInput& input, std::optional<std::int64_t> uid) {
  const api::SecurityContext& own = context_of(input.container);
  if (!own.runAsNonRoot.value_or(context_of(input.pod).runAsNonRoot.value_or(false))) return ok();
  std::string where = fmt::format("(pod: \"{}\", container: {})", describe(input.pod), input.container.name);
  if (uid) {
    if (*uid != 0) return ok();
    return error(Code::Invalid, "container's runAsUser breaks non-root policy {}", where);
  }
  std::string user = input.image.config.user.substr(0, input.image.config.user.find(':'));
  if (user.empty() || user == "0")
    return error(Code::Invalid, "container has runAsNonRoot and image will run as root {}", where);
  if (!is_number(user))
    return error(
        Code::Invalid,
        "container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is non-root {}",
        user, where);
  return ok();
}

Status apply_user(const ContainerInput& input, runtime::ProcessSpec& process) {
  const api::SecurityContext& own = context_of(input.container);
  const api::PodSecurityContext& pods = context_of(input.pod);
  std::optional<std::int64_t> uid = own.runAsUser ? own.runAsUser : pods.runAsUser;
  std::optional<std::int64_t> gid = own.runAsGroup ? own.runAsGroup : pods.runAsGroup;
  TRY(check_non_root(input, uid));
  process.user = uid ? std::to_string(*uid) : input.image.config.user;
  if (gid) process.group = static_cast<gid_t>(*gid);
  for (std::int64_t group : pods.supplementalGroups)
    process.supplementary_groups.push_back(static_cast<gid_t>(group));
  process.strict_groups = pods.supplementalGroupsPolicy == "Strict";
  if (pods.fsGroup) process.supplementary_groups.push_back(static_cast<gid_t>(*pods.fsGroup));
  return ok();
}

Result<runtime::CapabilitySet> capabilities_for(const api::SecurityContext& context, bool devices_guarded) {
  runtime::CapabilitySet set = runtime::kDefaultCapabilities;
  if (!devices_guarded) set = set.without(*runtime::capability_number("MKNOD"));
  if (!context.capabilities) return set;
  auto is_all = [](const std::string& name) { return name == "ALL" || name == "all"; };
  if (std::ranges::any_of(context.capabilities->add, is_all)) set = runtime::kAllCapabilities;
  if (std::ranges::any_of(context.capabilities->drop, is_all)) set = {};
  for (const std::string& name : context.capabilities->add) {
    if (is_all(name)) continue;
    std::optional<int> number = runtime::capability_number(name);
    if (!number) return error(Code::Invalid, "unknown capability \"CAP_{}\"", name);
    set = set.with(*number);
  }
  for (const std::string& name : context.capabilities->drop)
    if (std::optional<int> number = runtime::capability_number(name)) set = set.without(*number);
  return set;
}

Status load_profile(const std::string& path, runtime::CapabilitySet capabilities, runtime::ProcessSpec& process) {
  Result<std::string> text = sys::read_file(path, 4U << 20);
  if (!text.ok())
    return error(Code::NotFound, "cannot load seccomp profile \"{0}\": open {0}: no such file or directory", path);
  Result<std::string> program = runtime::seccomp_from_profile(text.value(), capabilities);
  if (!program.ok()) return std::move(program).error().in(fmt::format("cannot load seccomp profile \"{}\"", path));
  process.seccomp = std::move(program).value();
  return ok();
}

Status apply_seccomp(const ContainerInput& input, runtime::CapabilitySet capabilities,
                     runtime::ProcessSpec& process) {
  const api::SecurityContext& own = context_of(input.container);
  const api::PodSecurityContext& pods = context_of(input.pod);
  const api::SeccompProfile* profile =
      own.seccompProfile ? own.seccompProfile.get() : pods.seccompProfile.get();
  // Without a word of the pod the default profile applies (the kubelet's seccompDefault).
  std::string type = profile != nullptr ? profile->type : "RuntimeDefault";
  if (type == "Unconfined") return ok();
  if (type == "Localhost")
    return load_profile(input.seccomp_directory + "/" + profile->localhostProfile, capabilities, process);
  TRY_ASSIGN(process.seccomp, input.seccomp.default_for(capabilities));
  return ok();
}

}  // namespace

Status apply_security(const ContainerInput& input, runtime::ContainerSpec& spec) {
  const api::SecurityContext& own = context_of(input.container);
  TRY(apply_user(input, spec.process));
  spec.read_only_root = own.readOnlyRootFilesystem.value_or(false);
  spec.process.no_new_privileges = !own.allowPrivilegeEscalation.value_or(true);
  if (own.privileged.value_or(false)) {
    spec.privileged = true;
    spec.process.capabilities = {
        runtime::kAllCapabilities, runtime::kAllCapabilities, runtime::kAllCapabilities, {}, {}};
    return ok();
  }
  TRY_ASSIGN(runtime::CapabilitySet capabilities, capabilities_for(own, input.devices_guarded));
  spec.process.capabilities = {capabilities, capabilities, capabilities, {}, {}};
  if (own.procMount != "Unmasked") {
    spec.masked_paths = runtime::default_masked_paths();
    spec.read_only_paths = runtime::default_read_only_paths();
  }
  return apply_seccomp(input, capabilities, spec.process);
}

}  // namespace skiff::kubelet
