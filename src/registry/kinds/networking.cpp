// Ingresses and their classes, NetworkPolicies.

#include <algorithm>

#include "api/gen/networking.hpp"
#include "api/gen/pod.hpp"
#include "api/json.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"
#include "registry/kinds/volumes.hpp"

namespace skiff::registry {
namespace {

using api::quote;

const Path kSpec("spec");

// ---- Ingresses

bool is_wildcard(std::string_view host) { return host.find('*') != std::string_view::npos; }

void check_host(const std::string& host, const Path& path, FieldErrors& errors) {
  if (!is_wildcard(host)) return check_dns_subdomain(host, path, errors);
  bool fine = host.starts_with("*.") && api::dns1123_subdomain_problems(std::string_view(host).substr(2)).empty();
  if (!fine)
    errors.invalid(path, quote(host),
                   "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must "
                   "consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character "
                   "(e.g. '*.example.com', regex used for validation is "
                   "'\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')");
}

void check_backend(const api::IngressBackend& backend, const Path& path, FieldErrors& errors) {
  if (backend.service && backend.resource)
    return errors.invalid(path, "\"\"", "cannot set both resource and service backends");
  if (backend.resource) {
    const Path at = path.child("resource");
    require(backend.resource->kind, at.child("kind"), errors);
    require(backend.resource->name, at.child("name"), errors);
    return;
  }
  const Path at = path.child("service");
  if (!backend.service || backend.service->name.empty()) errors.required(at.child("name"));
  else check_dns_label(backend.service->name, at.child("name"), errors);
  if (!backend.service) return errors.required(at.child("port"), "port name or number is required");
  const api::ServiceBackendPort& port = backend.service->port;
  const Path port_path = at.child("port");
  if (!port.name.empty() && port.number != 0)
    errors.invalid(port_path, api::to_json(port), "cannot set both port name & port number");
  else if (!port.name.empty())
    add_problems(port_path.child("name"), port.name, api::port_name_problems(port.name), errors);
  else if (port.number != 0) check_port(port.number, port_path.child("number"), errors);
  else errors.required(port_path, "port name or number is required");
}

void check_path(const api::HTTPIngressPath& one, const Path& path, FieldErrors& errors) {
  if (one.pathType.empty()) {
    errors.required(path.child("pathType"), "pathType must be specified");
  } else if (one.pathType == "Exact" || one.pathType == "Prefix") {
    const Path at = path.child("path");
    if (!one.path.starts_with('/')) errors.invalid(at, quote(one.path), "must be an absolute path");
    for (const char* part : {"//", "/./", "/../", "%2f", "%2F"})
      if (one.path.find(part) != std::string::npos)
        errors.invalid(at, quote(one.path), fmt::format("must not contain '{}'", part));
    for (const char* suffix : {"/..", "/."})
      if (one.path.ends_with(suffix)) errors.invalid(at, quote(one.path), fmt::format("cannot end with '{}'", suffix));
  } else if (one.pathType == "ImplementationSpecific") {
    if (!one.path.empty() && !one.path.starts_with('/'))
      errors.invalid(path.child("path"), quote(one.path), "must be an absolute path");
  } else {
    errors.not_supported(path.child("pathType"), one.pathType, {"Exact", "ImplementationSpecific", "Prefix"});
  }
  check_backend(one.backend, path.child("backend"), errors);
}

void validate_ingress(const api::Ingress& ingress, const api::Ingress* old, FieldErrors& errors) {
  const api::IngressSpec& spec = ingress.spec;
  if (spec.rules.empty() && !spec.defaultBackend)
    errors.invalid(kSpec, "null", "either `defaultBackend` or `rules` must be specified");
  if (spec.defaultBackend) check_backend(*spec.defaultBackend, kSpec.child("defaultBackend"), errors);
  for (size_t i = 0; i < spec.rules.size(); ++i) {
    const api::IngressRule& rule = spec.rules[i];
    const Path at = kSpec.child("rules", i);
    if (api::is_ip(rule.host))
      errors.invalid(at.child("host"), quote(rule.host), "must be a DNS name, not an IP address");
    else if (!rule.host.empty()) check_host(rule.host, at.child("host"), errors);
    if (!rule.http) continue;
    const Path http = at.child("http");
    if (rule.http->paths.empty()) errors.required(http.child("paths"));
    for (size_t j = 0; j < rule.http->paths.size(); ++j) check_path(rule.http->paths[j], http.child("paths", j), errors);
  }
  for (size_t i = 0; i < spec.tls.size(); ++i) {
    const Path at = kSpec.child("tls", i);
    for (size_t j = 0; j < spec.tls[i].hosts.size(); ++j) check_host(spec.tls[i].hosts[j], at.child("hosts", j), errors);
    if (!spec.tls[i].secretName.empty()) check_dns_subdomain(spec.tls[i].secretName, at.child("secretName"), errors);
  }
  if (spec.ingressClassName) check_dns_subdomain(*spec.ingressClassName, kSpec.child("ingressClassName"), errors);
  constexpr char kClass[] = "kubernetes.io/ingress.class";
  auto annotation = ingress.metadata.annotations.find(kClass);
  if (!old && annotation != ingress.metadata.annotations.end() && spec.ingressClassName &&
      annotation->second != *spec.ingressClassName)
    errors.invalid(fmt::format("annotations.{}", kClass), quote(annotation->second),
                   "must match `ingressClassName` when both are specified");
}

void warn_about_ingress(const api::Ingress& ingress, const api::Ingress* old, std::vector<std::string>& warnings) {
  if (!old && ingress.metadata.annotations.contains("kubernetes.io/ingress.class"))
    warnings.push_back("annotation \"kubernetes.io/ingress.class\" is deprecated, please use "
                       "'spec.ingressClassName' instead");
}

void validate_class(const api::IngressClass& one, const api::IngressClass* old, FieldErrors& errors) {
  const std::string& controller = one.spec.controller;
  if (old) require_same(controller, old->spec.controller, kSpec.child("controller"), errors);
  if (controller.size() > 250) errors.too_long(kSpec.child("controller"), 250);
  if (require(controller, kSpec.child("controller"), errors) && controller.find('/') == std::string::npos)
    errors.invalid(kSpec.child("controller"), quote(controller),
                   "must be a domain-prefixed path (such as \"acme.io/foo\")");
  if (!one.spec.parameters) return;
  const Path at = kSpec.child("parameters");
  const api::IngressClassParametersReference& to = *one.spec.parameters;
  if (!to.apiGroup.empty()) check_dns_subdomain(to.apiGroup, at.child("apiGroup"), errors);
  require(to.kind, at.child("kind"), errors);
  require(to.name, at.child("name"), errors);
  if (to.scope.empty()) return errors.required(at.child("scope"));
  check_one_of(to.scope, at.child("scope"), {"Cluster", "Namespace"}, errors);
  if (to.scope == "Namespace" && to.namespace_.empty())
    errors.required(at.child("namespace"), "`parameters.scope` is set to 'Namespace'");
  if (to.scope == "Cluster" && !to.namespace_.empty())
    errors.forbidden(at.child("namespace"), "`parameters.scope` is set to 'Cluster'");
}

// ---- NetworkPolicies

void check_policy_port(const api::NetworkPolicyPort& port, const Path& path, FieldErrors& errors) {
  if (!port.protocol.empty()) check_one_of(port.protocol, path.child("protocol"), {"TCP", "UDP", "SCTP"}, errors);
  const Path end = path.child("endPort");
  auto refuse = [&](const char* why) { errors.invalid(end, std::to_string(*port.endPort), why); };
  if (port.port) check_port_or_name(*port.port, path.child("port"), errors);
  if (!port.endPort) return;
  if (!port.port) return refuse("may not be specified when `port` is not specified");
  if (port.port->is_string) return refuse("may not be specified when `port` is non-numeric");
  if (*port.endPort < port.port->number) refuse("must be greater than or equal to `port`");
  check_port(*port.endPort, end, errors);
}

void check_peer(const api::NetworkPolicyPeer& peer, const Path& path, FieldErrors& errors) {
  if (peer.podSelector) check_label_selector(*peer.podSelector, path.child("podSelector"), errors);
  if (peer.namespaceSelector) check_label_selector(*peer.namespaceSelector, path.child("namespaceSelector"), errors);
  if (peer.ipBlock) {
    const Path at = path.child("ipBlock");
    if (require(peer.ipBlock->cidr, at.child("cidr"), errors)) {
      check_cidr(peer.ipBlock->cidr, at.child("cidr"), errors);
      for (size_t i = 0; i < peer.ipBlock->except.size(); ++i)
        check_cidr(peer.ipBlock->except[i], at.child("except", i), errors);
    }
  }
  bool selectors = peer.podSelector || peer.namespaceSelector;
  if (!selectors && !peer.ipBlock) errors.required(path, "must specify a peer");
  if (selectors && peer.ipBlock) errors.forbidden(path, "may not specify both ipBlock and another peer");
}

template <class Rule, class Peers>
void check_rules(const std::vector<Rule>& rules, const char* list, const char* peers_name, Peers peers,
                 FieldErrors& errors) {
  for (size_t i = 0; i < rules.size(); ++i) {
    const Path at = kSpec.child(list, i);
    for (size_t j = 0; j < rules[i].ports.size(); ++j) check_policy_port(rules[i].ports[j], at.child("ports", j), errors);
    const auto& all = rules[i].*peers;
    for (size_t j = 0; j < all.size(); ++j) check_peer(all[j], at.child(peers_name, j), errors);
  }
}

void validate_policy(const api::NetworkPolicy& policy, const api::NetworkPolicy*, FieldErrors& errors) {
  const api::NetworkPolicySpec& spec = policy.spec;
  check_label_selector(spec.podSelector, kSpec.child("podSelector"), errors);
  check_rules(spec.ingress, "ingress", "from", &api::NetworkPolicyIngressRule::from, errors);
  check_rules(spec.egress, "egress", "to", &api::NetworkPolicyEgressRule::to, errors);
  if (spec.policyTypes.size() > 2)
    return errors.invalid(kSpec.child("policyTypes"), json_of(spec.policyTypes),
                          "may not specify more than two policyTypes");
  for (size_t i = 0; i < spec.policyTypes.size(); ++i)
    check_one_of(spec.policyTypes[i], kSpec.child("policyTypes", i), {"Ingress", "Egress"}, errors);
}

}  // namespace

std::vector<Resource> networking() {
  Rules<api::Ingress> ingresses;
  ingresses.validate = validate_ingress;
  ingresses.warn = warn_about_ingress;
  ingresses.counts_generation = true;
  Rules<api::IngressClass> classes;
  classes.validate = validate_class;
  classes.counts_generation = true;
  Rules<api::NetworkPolicy> policies;
  policies.validate = validate_policy;
  policies.counts_generation = true;
  return {define(ingresses), define(classes), define(policies)};
}

}  // namespace skiff::registry
