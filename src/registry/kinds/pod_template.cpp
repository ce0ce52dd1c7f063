#include "registry/kinds/pod_template.hpp"

#include <algorithm>
#include <limits>
#include <set>

#include "registry/kinds/containers.hpp"
#include "registry/kinds/placement.hpp"

namespace skiff::registry {
namespace {

using api::quote;

void check_resource_claims(const api::PodSpec& spec, const Path& path, FieldErrors& errors) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < spec.resourceClaims.size(); ++i) {
    const api::PodResourceClaim& claim = spec.resourceClaims[i];
    const Path at = path.child("resourceClaims", i);
    if (require(claim.name, at.child("name"), errors)) {
      if (!names.insert(claim.name).second) errors.duplicate(at.child("name"), quote(claim.name));
      check_dns_label(claim.name, at.child("name"), errors);
    }
    auto value = [&] { return fmt::format("{{\"Name\":{}}}", quote(claim.name)); };
    if (!claim.resourceClaimName.empty() && !claim.resourceClaimTemplateName.empty())
      errors.invalid(at, value(), "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified");
    if (claim.resourceClaimName.empty() && claim.resourceClaimTemplateName.empty())
      errors.invalid(at, value(), "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
    if (!claim.resourceClaimName.empty())
      check_dns_subdomain(claim.resourceClaimName, at.child("resourceClaimName"), errors);
    if (!claim.resourceClaimTemplateName.empty())
      check_dns_subdomain(claim.resourceClaimTemplateName, at.child("resourceClaimTemplateName"), errors);
  }
}

// Pod-level amounts: those of the containers must fit in.
void check_pod_resources(const api::PodSpec& spec, const Path& path, FieldErrors& errors) {
  if (!spec.resources) return;
  const Path at = path.child("resources");
  if (!spec.resources->claims.empty())
    errors.forbidden(at.child("claims"), "claims cannot be set for Resources at pod-level");
  check_resources(*spec.resources, at, errors);
  std::map<std::string_view, api::Quantity> sums;
  for (const api::Container& container : spec.containers)
    for (const auto& [resource, amount] : container.resources.requests) sums[resource] = sums[resource] + amount;
  for (const auto& [resource, sum] : sums) {
    auto request = spec.resources->requests.find(std::string(resource));
    if (request != spec.resources->requests.end() && sum > request->second)
      errors.invalid(at.key("requests", resource), quote(request->second.text()),
                     fmt::format("must be greater than or equal to aggregate container requests of {}", sum.text()));
  }
  for (size_t i = 0; i < spec.containers.size(); ++i)
    for (const auto& [resource, amount] : spec.containers[i].resources.limits) {
      auto limit = spec.resources->limits.find(resource);
      if (limit == spec.resources->limits.end() || amount <= limit->second) continue;
      errors.invalid(fmt::format("{}.containers[{}][{}].limits", at.text(), i, resource), quote(amount.text()),
                     fmt::format("must be less than or equal to pod limits of {}", limit->second.text()));
    }
}

void check_host_network(const api::PodSpec& spec, PodKind kind, const Path& path, FieldErrors& errors) {
  if (!spec.hostNetwork) return;
  for (size_t i = 0; i < spec.containers.size(); ++i) {
    const Path container = path.child("containers", i);
    for (size_t j = 0; j < spec.containers[i].ports.size(); ++j) {
      const api::ContainerPort& port = spec.containers[i].ports[j];
      if (kind == PodKind::Template && port.hostPort == 0) continue;
      if (port.hostPort == port.containerPort) continue;
      const Path at = container.child("ports", j);
      errors.invalid(at.child("hostPort"), std::to_string(port.hostPort),
                     "must match `containerPort` when `hostNetwork` is true");
    }
  }
}

void check_dns(const api::PodSpec& spec, const Path& path, FieldErrors& errors) {
  const Path at = path.child("dnsConfig");
  if (spec.dnsPolicy == "None") {
    if (!spec.dnsConfig) return errors.required(at, "must provide `dnsConfig` when `dnsPolicy` is None");
    if (spec.dnsConfig->nameservers.empty())
      return errors.required(at.child("nameservers"),
                             "must provide at least one DNS nameserver when `dnsPolicy` is None");
  }
  if (!spec.dnsConfig) return;
  const api::PodDNSConfig& dns = *spec.dnsConfig;
  if (dns.nameservers.size() > 3)
    errors.invalid(at.child("nameservers"), json_of(dns.nameservers), "must not have more than 3 nameservers");
  for (size_t i = 0; i < dns.nameservers.size(); ++i) check_ip(dns.nameservers[i], at.child("nameservers", i), errors);
  if (dns.searches.size() > 32)
    errors.invalid(at.child("searches"), json_of(dns.searches), "must not have more than 32 search paths");
  size_t length = dns.searches.empty() ? 0 : dns.searches.size() - 1;
  for (const std::string& search : dns.searches) length += search.size();
  if (length > 2048)
    errors.invalid(at.child("searches"), json_of(dns.searches),
                   "must not have more than 2048 characters (including spaces) in the search list");
  for (size_t i = 0; i < dns.searches.size(); ++i) {
    std::string search = dns.searches[i];
    if (search == ".") continue;
    if (search.ends_with('.')) search.pop_back();
    std::string without_underscores = search;
    std::replace(without_underscores.begin(), without_underscores.end(), '_', 'a');
    add_problems(at.child("searches", i), search, api::dns1123_subdomain_problems(without_underscores), errors);
  }
  for (size_t i = 0; i < dns.options.size(); ++i)
    if (dns.options[i].name.empty()) errors.required(at.child("options", i), "must not be empty");
}

void check_gates(const api::PodSpec& spec, const Path& path, FieldErrors& errors) {
  for (size_t i = 0; i < spec.readinessGates.size(); ++i) {
    const Path at = path.child("readinessGates", i);
    check_qualified_name(spec.readinessGates[i].conditionType, at.child("conditionType"), errors);
  }
  std::set<std::string_view> seen;
  for (size_t i = 0; i < spec.schedulingGates.size(); ++i) {
    const Path at = path.child("schedulingGates", i);
    check_qualified_name(spec.schedulingGates[i].name, at, errors);
    if (!seen.insert(spec.schedulingGates[i].name).second) errors.duplicate(at, quote(spec.schedulingGates[i].name));
  }
}

void check_host_users(const api::PodSpec& spec, const Path& path, FieldErrors& errors) {
  if (spec.hostUsers.value_or(true)) return;
  constexpr char kWhy[] = "when `hostUsers` is false";
  if (spec.hostNetwork) errors.forbidden(path.child("hostNetwork"), kWhy);
  if (spec.hostPID) errors.forbidden(path.child("hostPID"), kWhy);
  if (spec.hostIPC) errors.forbidden(path.child("hostIPC"), kWhy);
}

void check_names(const api::PodSpec& spec, const Path& path, FieldErrors& errors) {
  if (!spec.serviceAccountName.empty())
    check_dns_subdomain(spec.serviceAccountName, path.child("serviceAccountName"), errors);
  if (!spec.nodeName.empty()) check_dns_subdomain(spec.nodeName, path.child("nodeName"), errors);
  if (spec.activeDeadlineSeconds)
    require_between(*spec.activeDeadlineSeconds, 1, std::numeric_limits<std::int32_t>::max(),
                    path.child("activeDeadlineSeconds"), errors);
  if (!spec.hostname.empty()) check_dns_label(spec.hostname, path.child("hostname"), errors);
  if (spec.hostnameOverride && !spec.hostnameOverride->empty()) {
    const Path at = path.child("hostnameOverride");
    if (spec.hostnameOverride->size() > 64) errors.too_long(at, 64);
    check_dns_subdomain(*spec.hostnameOverride, at, errors);
    if (spec.setHostnameAsFQDN.value_or(false))
      errors.forbidden(at, "may not be specified when `setHostnameAsFQDN` is true");
    if (spec.hostNetwork) errors.forbidden(at, "may not be specified when `hostNetwork` is true");
  }
  if (!spec.subdomain.empty()) check_dns_label(spec.subdomain, path.child("subdomain"), errors);
}

void check_os(const api::PodSpec& spec, const Path& path, FieldErrors& errors) {
  if (!spec.os) return;
  const Path at = path.child("os");
  if (spec.os->name.empty()) errors.required(at.child("name"), "cannot be empty");
  else check_one_of(spec.os->name, at, {"linux", "windows"}, errors);
  if (spec.os->name != "linux") return;
  constexpr char kWhy[] = "windows options cannot be set for a linux pod";
  auto forbid = [&](bool set, const Path& where) {
    const Path context = where.child("securityContext");
    if (set) errors.forbidden(context.child("windowsOptions"), kWhy);
  };
  forbid(spec.securityContext && spec.securityContext->windowsOptions, path);
  auto each = [&](const auto& containers, const char* list) {
    for (size_t i = 0; i < containers.size(); ++i)
      forbid(containers[i].securityContext && containers[i].securityContext->windowsOptions, path.child(list, i));
  };
  each(spec.initContainers, "initContainers");
  each(spec.containers, "containers");
}

void check_rest(const api::PodSpec& spec, const Path& path, FieldErrors& errors) {
  check_tolerations(spec.tolerations, path, errors);
  for (size_t i = 0; i < spec.hostAliases.size(); ++i) {
    const Path at = path.child("hostAliases", i);
    check_ip(spec.hostAliases[i].ip, at.child("ip"), errors);
    for (size_t j = 0; j < spec.hostAliases[i].hostnames.size(); ++j)
      check_dns_subdomain(spec.hostAliases[i].hostnames[j], at.child("hostnames", j), errors);
  }
  if (!spec.priorityClassName.empty())
    check_dns_subdomain(spec.priorityClassName, path.child("priorityClassName"), errors);
  if (spec.runtimeClassName) check_dns_subdomain(*spec.runtimeClassName, path.child("runtimeClassName"), errors);
  if (!spec.preemptionPolicy.empty())
    check_one_of(spec.preemptionPolicy, path.child("preemptionPolicy"), {"PreemptLowerPriority", "Never"}, errors);
  const Path overhead = path.child("overhead");
  for (const auto& [resource, amount] : spec.overhead)
    check_resource_amount(resource, amount, overhead.key("limits", resource), errors);
  check_os(spec, path, errors);
}

}  // namespace

void check_pod_spec(const api::PodSpec& spec, PodKind kind, const Path& path, FieldErrors& errors) {
  if (!spec.terminationGracePeriodSeconds) errors.required(path.child("terminationGracePeriodSeconds"));
  std::vector<const api::Volume*> volumes = check_volumes(spec.volumes, path, kind, errors);
  check_resource_claims(spec, path, errors);
  check_containers({spec, volumes, kind}, path, errors);
  check_pod_resources(spec, path, errors);
  check_host_network(spec, kind, path, errors);
  require_one_of(spec.restartPolicy, path.child("restartPolicy"), {"Always", "OnFailure", "Never"}, errors);
  require_one_of(spec.dnsPolicy, path.child("dnsPolicy"), {"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"},
                 errors);
  check_labels(spec.nodeSelector, path.child("nodeSelector"), errors);
  if (spec.shareProcessNamespace.value_or(false) && spec.hostPID) {
    const Path context = path.child("securityContext");
    errors.invalid(context.child("shareProcessNamespace"), "true",
                   "ShareProcessNamespace and HostPID cannot both be enabled");
  }
  if (spec.securityContext)
    check_pod_security_context(*spec.securityContext, spec, path.child("securityContext"), errors);
  if (spec.affinity) check_affinity(*spec.affinity, path.child("affinity"), errors);
  check_dns(spec, path, errors);
  check_gates(spec, path, errors);
  check_spreading(spec.topologySpreadConstraints, path, errors);
  check_host_users(spec, path, errors);
  check_names(spec, path, errors);
  check_rest(spec, path, errors);
}

void check_pod_annotations(const std::map<std::string, std::string>& annotations, const api::PodSpec& spec,
                           const Path& path, FieldErrors& errors) {
  if (annotations.empty()) return;
  constexpr char kMirror[] = "kubernetes.io/config.mirror";
  constexpr char kDeletionCost[] = "controller.kubernetes.io/pod-deletion-cost";
  if (auto mirror = annotations.find(kMirror); mirror != annotations.end() && spec.nodeName.empty())
    errors.invalid(path.key("annotations", kMirror), quote(mirror->second),
                   "must set spec.nodeName if mirror pod annotation is set");
  if (auto cost = annotations.find(kDeletionCost); cost != annotations.end()) {
    const std::string& text = cost->second;
    std::string_view digits = text;
    if (digits.starts_with('-')) digits.remove_prefix(1);
    bool number = !digits.empty() && digits.size() <= 10 && (digits == "0" || digits[0] != '0') && text != "-0" &&
                  std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!number || std::abs(std::stoll(text)) > std::numeric_limits<std::int32_t>::max())
      errors.invalid(path.key("annotations", kDeletionCost), quote(text), "must be a 32bit integer");
  }
}

void check_template_metadata(const api::PodTemplateSpec& pod_template, const Path& path, FieldErrors& errors) {
  check_labels(pod_template.metadata.labels, path.child("labels"), errors);
  check_annotations(pod_template.metadata.annotations, path.child("annotations"), errors);
  check_pod_annotations(pod_template.metadata.annotations, pod_template.spec, path, errors);
}

void check_template(const api::PodTemplateSpec& pod_template, const Path& path, FieldErrors& errors) {
  check_template_metadata(pod_template, path, errors);
  const Path spec = path.child("spec");
  check_pod_spec(pod_template.spec, PodKind::Template, spec, errors);
  if (!pod_template.spec.ephemeralContainers.empty())
    errors.forbidden(spec.child("ephemeralContainers"), "ephemeral containers not allowed in pod template");
}

}  // namespace skiff::registry
