#include "proxy/ingress_routes.hpp"

#include <algorithm>
#include <set>

#include "proxy/ingress_options.hpp"

namespace skiff::proxy {
namespace {

using client::ObjectKey;
using client::Ref;

constexpr char kClassAnnotation[] = "kubernetes.io/ingress.class";

std::string class_name(const api::Ingress& ingress) {
  if (ingress.spec.ingressClassName) return *ingress.spec.ingressClassName;
  auto annotation = ingress.metadata.annotations.find(kClassAnnotation);
  return annotation == ingress.metadata.annotations.end() ? "" : annotation->second;
}

/// Calls `each` for every backend.
template <class Each>
void each_backend(const api::Ingress& ingress, Each&& each) {
  if (ingress.spec.defaultBackend) each(*ingress.spec.defaultBackend);
  for (const api::IngressRule& rule : ingress.spec.rules)
    if (rule.http)
      for (const api::HTTPIngressPath& path : rule.http->paths) each(path.backend);
}

class Compiler {
 public:
  explicit Compiler(IngressView view)
      : view_(std::move(view)),
        plain_(std::make_unique<HttpTable>(HttpTable::Options{})),
        secure_(std::make_unique<HttpTable>(HttpTable::Options{})) {}

  CompiledIngresses run() {
    std::sort(view_.ingresses.begin(), view_.ingresses.end(), [](const auto& a, const auto& b) {
      return std::tuple(a->metadata.creationTimestamp, client::key_of(*a)) <
             std::tuple(b->metadata.creationTimestamp, client::key_of(*b));
    });
    for (const Ref<api::Ingress>& ingress : view_.ingresses) add(*ingress);
    plain_->finish();
    secure_->finish();
    certificates_.add("", view_.own);
    return {std::make_shared<IngressRoutes>(std::move(plain_), std::move(secure_), std::move(certificates_)),
            std::move(problems_)};
  }

 private:
  void problem(const std::string& reason, const std::string& message) {
    IngressProblem one{now_, reason, message};
    if (std::find(problems_.begin(), problems_.end(), one) == problems_.end()) problems_.push_back(one);
  }

  void add(const api::Ingress& ingress) {
    now_ = client::key_of(ingress);
    options_ = ingress_options(ingress.metadata.annotations);
    for (const std::string& text : options_.problems) problem("InvalidAnnotation", text);
    std::set<std::string> tls_hosts = add_certificates(ingress);
    if (ingress.spec.defaultBackend && !has_default_) {
      HttpRule rule = base_rule();
      lead_to(rule, *ingress.spec.defaultBackend);
      plain_->set_default(rule);
      secure_->set_default(std::move(rule));
      has_default_ = true;
    }
    for (const api::IngressRule& rule : ingress.spec.rules)
      add_rule(ingress, rule, tls_hosts.contains(rule.host));
  }

  std::set<std::string> add_certificates(const api::Ingress& ingress) {
    std::set<std::string> hosts;
    for (const api::IngressTLS& tls : ingress.spec.tls) {
      std::vector<std::string> names = tls.hosts;
      if (names.empty())
        for (const api::IngressRule& rule : ingress.spec.rules) names.push_back(rule.host);
      hosts.insert(names.begin(), names.end());
      if (tls.secretName.empty()) continue;
      auto certificate = view_.certificate({now_.namespace_, tls.secretName});
      if (!certificate.ok()) {
        problem("CertificateUnavailable",
                certificate.error().message() + "; the ingress' own certificate is used");
        continue;
      }
      for (const std::string& name : names) certificates_.add(name, certificate.value());
    }
    return hosts;
  }

  void add_rule(const api::Ingress& ingress, const api::IngressRule& rule, bool has_tls) {
    if (!rule.http) {
      // A host without paths leads to the Ingress' default.
      HttpRule all = base_rule();
      if (ingress.spec.defaultBackend) lead_to(all, *ingress.spec.defaultBackend);
      add_to_tables(rule.host, std::move(all), has_tls);
      return;
    }
    if (!options_.app_root.empty()) {
      HttpRule root = base_rule();
      root.kind = HttpRule::Path::Exact;
      root.redirect = HttpRule::Redirect{.status = 302, .path = options_.app_root};
      add_to_tables(rule.host, std::move(root), has_tls);
    }
    for (const api::HTTPIngressPath& path : rule.http->paths) {
      std::optional<HttpRule> one = path_rule(path);
      if (!one) continue;
      if (!taken_.insert({rule.host, path.pathType + " " + path.path}).second) {
        problem("PathTaken", fmt::format("host '{}' path {} is an older Ingress'", rule.host, path.path));
        continue;
      }
      add_to_tables(rule.host, std::move(*one), has_tls);
    }
  }

  HttpRule base_rule() {
    HttpRule rule;
    rule.order = order_++;
    rule.forward.max_body = options_.max_body;
    rule.forward.host = options_.upstream_host;
    rule.forward.connect_timeout = options_.connect_timeout;
    rule.forward.answer_timeout = options_.answer_timeout;
    rule.rewrite = options_.rewrite_target;
    if (!options_.redirect.empty())
      rule.redirect = HttpRule::Redirect{.status = options_.redirect_status, .url = options_.redirect};
    return rule;
  }

  std::optional<HttpRule> path_rule(const api::HTTPIngressPath& path) {
    HttpRule rule = base_rule();
    rule.path = path.path.empty() ? "/" : path.path;
    bool regex = options_.use_regex || options_.rewrite_target;
    if (path.pathType == "Exact") {
      rule.kind = HttpRule::Path::Exact;
    } else if (regex) {
      rule.kind = HttpRule::Path::Pattern;
      Result<Regex> compiled = compile_regex(rule.path);
      if (!compiled.ok()) {
        problem("InvalidPath", compiled.error().message());
        return std::nullopt;
      }
      rule.regex = std::move(compiled).value();
    } else if (path.pathType == "ImplementationSpecific" && rule.path.ends_with("/*")) {
      rule.path.pop_back();  // as old clouds spelled a prefix
    }
    lead_to(rule, path.backend);
    return rule;
  }

  void lead_to(HttpRule& rule, const api::IngressBackend& backend) {
    if (backend.resource)
      return problem("ResourceBackend",
                     fmt::format("backend {} '{}' is not a Service: only Services can be backends",
                                 backend.resource->kind, backend.resource->name));
    if (!backend.service) return;
    const api::ServiceBackendPort& port = backend.service->port;
    auto backends =
        http_backends(view_.lookup, {now_.namespace_, backend.service->name},
                                  {port.number, port.name, options_.http2});
    // A Service that is not there yet is an everyday thing; one that never can be is worth a word.
    if (!backends.ok() && backends.error().code() != Code::NotFound)
      problem("InvalidBackend", backends.error().message());
    if (backends.ok())
      rule.choices = {{.backends = std::move(backends).value(), .request = {}, .response = {}}};
  }

  void add_to_tables(const std::string& host, HttpRule rule, bool has_tls) {
    HttpRule plain = rule;
    if ((has_tls && options_.ssl_redirect) || options_.force_ssl_redirect)
      plain.redirect = HttpRule::Redirect{.status = 308, .scheme = "https", .port = view_.https_port};
    plain_->add(host, std::move(plain));
    secure_->add(host, std::move(rule));
  }

  IngressView view_;
  std::unique_ptr<HttpTable> plain_, secure_;
  CertificateTable certificates_;
  std::vector<IngressProblem> problems_;
  std::set<std::pair<std::string, std::string>> taken_;
  ObjectKey now_;
  IngressOptions options_;
  bool has_default_ = false;
  int order_ = 0;
};

}  // namespace

bool is_ours(const api::Ingress& ingress,
             const std::function<client::Ref<api::IngressClass>(const std::string&)>& class_of) {
  std::string name = class_name(ingress);
  if (name.empty()) return true;
  client::Ref<api::IngressClass> known = class_of(name);
  return known ? known->spec.controller == kIngressController : name == "nginx";
}

CompiledIngresses compile_ingresses(IngressView view) { return Compiler(std::move(view)).run(); }

std::vector<std::string> services_of(const api::Ingress& ingress) {
  std::set<std::string> names;
  each_backend(ingress, [&](const api::IngressBackend& backend) {
    if (backend.service) names.insert(ObjectKey{ingress.metadata.namespace_, backend.service->name}.str());
  });
  return {names.begin(), names.end()};
}

std::vector<std::string> secrets_of(const api::Ingress& ingress) {
  std::set<std::string> names;
  for (const api::IngressTLS& tls : ingress.spec.tls)
    if (!tls.secretName.empty()) names.insert(ObjectKey{ingress.metadata.namespace_, tls.secretName}.str());
  return {names.begin(), names.end()};
}

}  // namespace skiff::proxy
