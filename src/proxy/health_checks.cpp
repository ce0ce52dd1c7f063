#include "proxy/health_checks.hpp"

#include "base/log.hpp"

namespace skiff::proxy {
namespace {

using client::ObjectKey;
using client::Ref;

constexpr Duration kRetry = 10s;
constexpr char kPart[] = "health";

std::int32_t health_port(const Ref<api::Service>& service) {
  return service && service->spec.type == "LoadBalancer" ? service->spec.healthCheckNodePort : 0;
}

/// The answers, ready to be given, by listener.
class HealthRoutes final : public net::HttpRoutes {
 public:
  std::map<std::string, net::HttpAnswer> answers;

  net::HttpDecision decide(const net::HttpQuestion& question) const override {
    auto answer = answers.find(question.listener);
    return answer == answers.end() ? net::HttpAnswer{.status = 503, .headers = {}, .body = ""}
                                   : answer->second;
  }
  std::shared_ptr<const net::TlsCertificate> certificate(const std::string&,
                                                         const std::string&) const override {
    return nullptr;
  }
};

}  // namespace

net::HttpAnswer health_answer(const ObjectKey& service, size_t endpoints) {
  std::string body = fmt::format(
      "{{\n\t\"service\": {{\n\t\t\"namespace\": \"{}\",\n\t\t\"name\": \"{}\"\n\t}},\n\t\"localEndpoints\": "
      "{},\n"
      "\t\"serviceProxyHealthy\": true\n}}",
      service.namespace_, service.name, endpoints);
  return {.status = endpoints > 0 ? 200 : 503,
          .headers = {{"X-Content-Type-Options", "nosniff"},
                      {"X-Load-Balancing-Endpoint-Weight", std::to_string(endpoints)}},
          .body = std::move(body),
          .content_type = "application/json"};
}

HealthChecks::HealthChecks(client::Informers& informers, Clock& clock, HttpFront& front)
    : clock_(clock),
      front_(front),
      services_(informers.of<api::Service>()),
      slices_(informers.of<api::EndpointSlice>()),
      changes_(clock) {
  services_.add_index("health-port", [](const api::Service& service) {
    bool has = service.spec.type == "LoadBalancer" && service.spec.healthCheckNodePort != 0;
    return has ? std::vector<std::string>{"yes"} : std::vector<std::string>{};
  });
  slices_.add_index("health-service", [](const api::EndpointSlice& slice) {
    return std::vector<std::string>{service_of(slice).str()};
  });
  services_.on_change([this](const auto& before, const auto& now) {
    if (health_port(before) != health_port(now)) changes_.changed();
  });
  slices_.on_change([this](const auto& before, const auto& now) {
    if (health_port(services_.get(service_of(now ? *now : *before))) != 0) changes_.changed();
  });
}

void HealthChecks::add_node(const std::string& name, std::vector<net::Address> addresses) {
  {
    MutexLock lock(mutex_);
    nodes_[name] = std::move(addresses);
  }
  changes_.changed();
}

void HealthChecks::remove_node(const std::string& name) {
  {
    MutexLock lock(mutex_);
    nodes_.erase(name);
  }
  changes_.changed();
}

void HealthChecks::start() {
  worker_.start("health-checks", [this](std::stop_token stop) { run(std::move(stop)); });
}

void HealthChecks::stop() {
  worker_.stop();
}

void HealthChecks::run(std::stop_token stop) {
  if (!services_.wait_synced(stop) || !slices_.wait_synced(stop)) return;
  TimePoint again = TimePoint::max();
  while (std::uint64_t change = changes_.wait_change(stop, again)) {
    bool settled = settle();
    changes_.done(change);
    again = settled ? TimePoint::max() : clock_.now() + kRetry;
  }
}

bool HealthChecks::settle() {
  std::map<std::string, std::vector<net::Address>> nodes;
  {
    MutexLock lock(mutex_);
    nodes = nodes_;
  }
  auto routes = std::make_shared<HealthRoutes>();
  std::vector<net::HttpListener> listeners;
  for (const Ref<api::Service>& service : services_.by_index("health-port", "yes")) {
    ObjectKey key = client::key_of(*service);
    Slices slices = slices_.by_index("health-service", key.str());
    for (const auto& [node, addresses] : nodes) {
      std::string name = fmt::format("{}/{}/{}", kPart, key.str(), node);
      auto port = static_cast<std::uint16_t>(service->spec.healthCheckNodePort);
      for (net::Address address : addresses) listeners.push_back({node, {address, port}, false, name});
      routes->answers[name] = health_answer(key, local_endpoints(slices, node));
    }
  }
  std::vector<net::HttpListenerFailure> failures = front_.set(kPart, std::move(listeners), std::move(routes));
  for (const net::HttpListenerFailure& failure : failures)
    log::warning("health-checks", "{}: {}", failure.listener.name, failure.error.message());
  return failures.empty();
}

}  // namespace skiff::proxy
