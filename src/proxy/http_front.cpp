#include "proxy/http_front.hpp"

namespace skiff::proxy {
namespace {

std::string part_of(const std::string& listener) { return listener.substr(0, listener.find('/')); }

/// Leads to the routes of the part whose listener was used.
class JoinedRoutes final : public net::HttpRoutes {
 public:
  using Parts = std::map<std::string, std::shared_ptr<const net::HttpRoutes>>;
  explicit JoinedRoutes(Parts parts) : parts_(std::move(parts)) {}

  net::HttpDecision decide(const net::HttpQuestion& question) const override {
    const net::HttpRoutes* part = find(question.listener);
    return part == nullptr ? net::HttpAnswer{.status = 503, .headers = {}, .body = ""}
                           : part->decide(question);
  }
  std::shared_ptr<const net::TlsCertificate> certificate(const std::string& listener,
                                                         const std::string& name) const override {
    const net::HttpRoutes* part = find(listener);
    return part == nullptr ? nullptr : part->certificate(listener, name);
  }

 private:
  const net::HttpRoutes* find(const std::string& listener) const {
    auto part = parts_.find(part_of(listener));
    return part == parts_.end() ? nullptr : part->second.get();
  }
  const Parts parts_;
};

}  // namespace

client::Ref<api::Secret> find_certificate(const client::Informer<api::Secret>& certificates, client::Client& client,
                                          const client::ObjectKey& key) {
  if (client::Ref<api::Secret> known = certificates.get(key)) return known;
  Result<client::Ref<api::Secret>> asked = client.get<api::Secret>(key);
  return asked.ok() ? asked.value() : nullptr;
}

std::vector<net::HttpListenerFailure> HttpFront::set(const std::string& part,
                                                     std::vector<net::HttpListener> listeners,
                                                     std::shared_ptr<const net::HttpRoutes> routes) {
  MutexLock lock(mutex_);
  parts_[part] = {std::move(listeners), std::move(routes)};
  JoinedRoutes::Parts joined;
  std::vector<net::HttpListener> all;
  for (const auto& [name, one] : parts_) {
    if (one.routes) joined[name] = one.routes;
    all.insert(all.end(), one.listeners.begin(), one.listeners.end());
  }
  // Routes first: a port that is open has its answers.
  proxy_.set_routes(std::make_shared<JoinedRoutes>(std::move(joined)));
  std::vector<net::HttpListenerFailure> mine;
  for (net::HttpListenerFailure& failure : proxy_.set_listeners(all))
    if (part_of(failure.listener.name) == part) mine.push_back(std::move(failure));
  return mine;
}

}  // namespace skiff::proxy
