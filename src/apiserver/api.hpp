#pragma once
// The request path of the Kubernetes API, from a plain request to an answer. See handle().

#include <functional>
#include <string>
#include <vector>

#include "apiserver/about.hpp"
#include "apiserver/aggregator.hpp"
#include "apiserver/audit.hpp"
#include "apiserver/authenticate.hpp"
#include "apiserver/discovery.hpp"
#include "apiserver/message.hpp"
#include "apiserver/metrics.hpp"
#include "apiserver/openapi.hpp"
#include "apiserver/request_info.hpp"
#include "client/node_access.hpp"
#include "registry/registry.hpp"

namespace skiff::apiserver {

struct ApiOptions {
  registry::Registry& registry;
  Clock& clock;
  Authenticator authenticator;
  client::NodeAccessByName nodes;
  std::string git_version;          // "v1.36.0+skiff.0.1.0"
  std::vector<HealthCheck> health = {};  // besides ping
  AuditLog* audit = nullptr;
  Metrics::Limits limits = {};
  const Aggregator* aggregator = nullptr;  // null: this server serves everything
};

/// Any thread. One per cluster; outlived by what its options refer to.
class Api {
 public:
  explicit Api(ApiOptions options);

  /// Answers a request: request info, authentication, authorisation, then the verb. Never throws.
  Response handle(const Request& request);

 private:
  /// What is known of a request on its way.
  struct Passage {
    const Request& request;
    RequestInfo info;
    User user;
    std::vector<std::string> warnings;
    std::map<std::string, std::string> audit_annotations;
  };
  Result<Response> answer(Passage& passage);
  Result<Response> serve_path(const Request& request);
  Result<Response> serve_resource(Passage& passage);
  Result<registry::RequestContext> context_of(const Request& request, const RequestInfo& info,
                                              const User& user) const;

  ApiOptions options_;
  Metrics metrics_;
  /// The documents about what is served, made anew when that changes.
  struct Documents {
    Documents(const registry::Catalogue& catalogue, const Backends& backends, const std::string& git_version);
    std::uint64_t generation, backends_generation;
    Discovery discovery;
    OpenApi openapi;
  };
  std::shared_ptr<Documents> documents();
  std::shared_ptr<const Backends> backends() const;

  Mutex mutex_;
  std::shared_ptr<Documents> documents_ GUARDED_BY(mutex_);
};

}  // namespace skiff::apiserver
