// Probes and lifecycle hooks.

#include <algorithm>

#include "registry/kinds/containers.hpp"

namespace skiff::registry {
namespace {

using api::quote;

constexpr char kOneHandler[] = "may not specify more than 1 handler type";

bool is_header_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
  });
}

void check_http(const api::HTTPGetAction& http, const Path& path, FieldErrors& errors) {
  require(http.path, path.child("path"), errors);
  check_port_or_name(http.port, path.child("port"), errors);
  check_one_of(http.scheme, path.child("scheme"), {"HTTP", "HTTPS"}, errors);
  for (const api::HTTPHeader& header : http.httpHeaders)
    if (!is_header_name(header.name))
      errors.invalid(path.child("httpHeaders"), quote(header.name),
                     "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex "
                     "used for validation is '[-A-Za-z0-9]+')");
}

// What probes and hooks can do alike.
template <class Handler>
void check_common_handlers(const Handler& handler, const Path& path, OneOf& one, FieldErrors& errors) {
  if (one.first(bool(handler.exec), "exec") && handler.exec->command.empty()) {
    const Path at = path.child("exec");
    errors.required(at.child("command"));
  }
  if (one.first(bool(handler.httpGet), "httpGet")) check_http(*handler.httpGet, path.child("httpGet"), errors);
  if (one.first(bool(handler.tcpSocket), "tcpSocket")) {
    const Path at = path.child("tcpSocket");
    check_port_or_name(handler.tcpSocket->port, at.child("port"), errors);
  }
}

void check_hook(const api::LifecycleHandler& hook, const api::PodSpec& spec, const Path& path, FieldErrors& errors) {
  OneOf one(path, kOneHandler, errors);
  check_common_handlers(hook, path, one, errors);
  if (one.first(bool(hook.sleep), "sleep") && spec.terminationGracePeriodSeconds &&
      (hook.sleep->seconds < 0 || hook.sleep->seconds > *spec.terminationGracePeriodSeconds))
    errors.invalid(path.child("sleep"), std::to_string(hook.sleep->seconds),
                   fmt::format("must be non-negative and less than terminationGracePeriodSeconds ({})",
                               *spec.terminationGracePeriodSeconds));
  if (one.none()) errors.required(path, "must specify a handler type");
}

}  // namespace

void check_probe(const api::Probe& probe, ProbeKind kind, const Path& path, FieldErrors& errors) {
  OneOf one(path, kOneHandler, errors);
  check_common_handlers(probe, path, one, errors);
  if (one.first(bool(probe.grpc), "grpc")) {
    const Path at = path.child("grpc");
    check_port(probe.grpc->port, at.child("port"), errors);
  }
  if (one.none()) errors.required(path, "must specify a handler type");
  require_nonnegative(probe.initialDelaySeconds, path.child("initialDelaySeconds"), errors);
  require_nonnegative(probe.timeoutSeconds, path.child("timeoutSeconds"), errors);
  require_nonnegative(probe.periodSeconds, path.child("periodSeconds"), errors);
  require_nonnegative(probe.successThreshold, path.child("successThreshold"), errors);
  require_nonnegative(probe.failureThreshold, path.child("failureThreshold"), errors);
  if (probe.terminationGracePeriodSeconds && *probe.terminationGracePeriodSeconds <= 0)
    errors.invalid(path.child("terminationGracePeriodSeconds"), std::to_string(*probe.terminationGracePeriodSeconds),
                   "must be greater than 0");
  if (kind == ProbeKind::Readiness) {
    if (probe.terminationGracePeriodSeconds)
      errors.invalid(path.child("terminationGracePeriodSeconds"), std::to_string(*probe.terminationGracePeriodSeconds),
                     "must not be set for readinessProbes");
  } else if (probe.successThreshold != 1) {
    errors.invalid(path.child("successThreshold"), std::to_string(probe.successThreshold), "must be 1");
  }
}

void check_lifecycle(const api::Lifecycle& lifecycle, const api::PodSpec& spec, const Path& path, FieldErrors& errors) {
  if (lifecycle.postStart) check_hook(*lifecycle.postStart, spec, path.child("postStart"), errors);
  if (lifecycle.preStop) check_hook(*lifecycle.preStop, spec, path.child("preStop"), errors);
  if (lifecycle.stopSignal.empty()) return;
  if (!spec.os || spec.os->name.empty())
    errors.forbidden(path.child("stopSignal"), "may not be set for containers with empty `spec.os.name`");
  else if (spec.os->name == "windows" && !is_one_of(lifecycle.stopSignal, {"SIGTERM", "SIGKILL"}))
    errors.not_supported(path.child("stopSignal"), lifecycle.stopSignal, {"SIGKILL", "SIGTERM"});
}

}  // namespace skiff::registry
