#include "kubelet/admission.hpp"

#include <algorithm>

#include "api/nodes.hpp"
#include "api/pods.hpp"

namespace skiff::kubelet {
namespace {

/// Parameters that belong to a pod's namespaces and hurt nobody else.
constexpr const char* kSafe[] = {
    "kernel.shm_rmid_forced",         "net.ipv4.ip_local_port_range",       "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",      "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",    "net.ipv4.tcp_fin_timeout",           "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",  "net.ipv4.tcp_rmem",                  "net.ipv4.tcp_wmem"};

/// Slashes separate as dots do; inside a name they then swap places.
std::string normal_name(std::string name) {
  size_t first = name.find_first_of("./");
  if (first == std::string::npos || name[first] == '.') return name;
  std::ranges::transform(name, name.begin(), [](char c) { return c == '.' ? '/' : c == '/' ? '.' : c; });
  return name;
}

bool matches(const std::string& pattern, const std::string& name) {
  if (!pattern.ends_with('*')) return pattern == name;
  return name.starts_with(std::string_view(pattern).substr(0, pattern.size() - 1));
}

std::string problem_of(const std::string& name, const api::PodSpec& spec, const std::set<std::string>& unsafe) {
  bool known = std::ranges::find(kSafe, name) != std::end(kSafe) ||
               std::ranges::any_of(unsafe, [&](const std::string& pattern) { return matches(pattern, name); });
  if (!known) return fmt::format("\"{}\" not allowlisted", name);
  if (name.starts_with("net.") && spec.hostNetwork) return fmt::format("\"{}\" not allowed with host Net enabled", name);
  if (!name.starts_with("net.") && spec.hostIPC) return fmt::format("\"{}\" not allowed with host IPC enabled", name);
  return "";
}

std::optional<Rejection> check_sysctls(const api::Pod& pod, const std::set<std::string>& unsafe) {
  if (!pod.spec.securityContext) return std::nullopt;
  for (const api::Sysctl& sysctl : pod.spec.securityContext->sysctls)
    if (std::string problem = problem_of(normal_name(sysctl.name), pod.spec, unsafe); !problem.empty())
      return Rejection{"SysctlForbidden", "forbidden sysctl: " + problem};
  return std::nullopt;
}

template <class Context>
bool wants_app_armor(const Context& context) {
  return context && context->appArmorProfile && context->appArmorProfile->type != "Unconfined";
}

bool wants_app_armor(const api::Pod& pod) {
  auto wants = [](const auto& container) { return wants_app_armor(container.securityContext); };
  return wants_app_armor(pod.spec.securityContext) || std::ranges::any_of(pod.spec.initContainers, wants) ||
         std::ranges::any_of(pod.spec.containers, wants);
}

bool has_condition(const api::Node* node, std::string_view type) {
  return node != nullptr && std::ranges::any_of(node->status.conditions, [&](const api::NodeCondition& condition) {
           return condition.type == type && condition.status == "True";
         });
}

}  // namespace

std::optional<Rejection> check_admission(const api::Pod& pod, const AdmissionFacts& facts) {
  // Under pressure nothing comes in that may be the next to go; with little memory that is who asked for none.
  constexpr std::int32_t kCritical = 2'000'000'000;
  bool critical = pod.spec.priority.value_or(0) >= kCritical;
  bool disk = has_condition(facts.node, "DiskPressure");
  bool memory = has_condition(facts.node, "MemoryPressure") && api::qos_class(pod) == "BestEffort";
  if (!critical && (disk || memory))
    return Rejection{"Evicted",
                     fmt::format("The node had condition: [{}]. ", disk ? "DiskPressure" : "MemoryPressure")};
  if (std::optional<Rejection> rejection = check_sysctls(pod, facts.unsafe_sysctls)) return rejection;
  if (!facts.app_armor && wants_app_armor(pod))
    return Rejection{"AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host"};
  if (pod.spec.os && pod.spec.os->name != "linux")
    return Rejection{"PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"};
  if (facts.node != nullptr && !api::matches_node_affinity(pod.spec, *facts.node))
    return Rejection{"NodeAffinity",
                     "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"};
  return std::nullopt;
}

Rejection out_of(const Shortage& shortage) {
  return {"OutOf" + shortage.resource,
          fmt::format("Node didn't have enough resource: {}, requested: {}, used: {}, capacity: {}", shortage.resource,
                      shortage.requested, shortage.used, shortage.capacity)};
}

}  // namespace skiff::kubelet
