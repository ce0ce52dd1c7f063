#pragma once
// Ingresses as rules of the HTTP proxy. Pure.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/gen/networking.hpp"
#include "proxy/http_backends.hpp"
#include "proxy/http_table.hpp"

namespace skiff::proxy {

inline constexpr std::string_view kIngressController = "skiff.io/ingress-controller";

/// Whether an Ingress is for us: of our class, of the class "nginx" where nobody else has it, or of none.
/// `class_of` finds an IngressClass.
bool is_ours(const api::Ingress& ingress,
             const std::function<client::Ref<api::IngressClass>(const std::string&)>& class_of);

struct IngressView {
  std::vector<client::Ref<api::Ingress>> ingresses;  // those that are ours
  ServiceLookup lookup;
  /// The certificate in a Secret; the error says why there is none.
  std::function<Result<CertificateTable::Certificate>(const client::ObjectKey&)> certificate;
  CertificateTable::Certificate own;  // for hosts that have none
  std::uint16_t https_port = 443;
};

struct IngressProblem {
  client::ObjectKey ingress;
  std::string reason, message;
  auto operator<=>(const IngressProblem&) const = default;
};

/// What answers on the ingress' ports.
class IngressRoutes final : public net::HttpRoutes {
 public:
  IngressRoutes(std::unique_ptr<HttpTable> plain, std::unique_ptr<HttpTable> secure,
                CertificateTable certificates)
      : plain_(std::move(plain)), secure_(std::move(secure)), certificates_(std::move(certificates)) {}

  net::HttpDecision decide(const net::HttpQuestion& question) const override {
    return (question.tls ? *secure_ : *plain_).decide(question);
  }
  CertificateTable::Certificate certificate(const std::string&, const std::string& name) const override {
    return certificates_.find(name);
  }

 private:
  const std::unique_ptr<HttpTable> plain_, secure_;  // plain ones redirect where a host has TLS
  const CertificateTable certificates_;
};

struct CompiledIngresses {
  std::shared_ptr<const IngressRoutes> routes;
  std::vector<IngressProblem> problems;
};

/// Of two Ingresses that want the same host and path the older one has it.
CompiledIngresses compile_ingresses(IngressView view);

/// The Services and Secrets that an Ingress names, by name in its namespace.
std::vector<std::string> services_of(const api::Ingress& ingress);
std::vector<std::string> secrets_of(const api::Ingress& ingress);

}  // namespace skiff::proxy
