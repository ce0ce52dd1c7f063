#pragma once
// The one HTTP proxy of a cluster, shared by those who answer on it: ingress, gateways, health checks.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/gen/core.hpp"
#include "base/mutex.hpp"
#include "client/informer.hpp"
#include "net/http_proxy.hpp"

namespace skiff::proxy {

/// A Secret with a certificate: as `certificates` has it, or, for Secrets of other types, as the API has it now
/// (their changes are not followed). Null: there is none.
client::Ref<api::Secret> find_certificate(const client::Informer<api::Secret>& certificates, client::Client& client,
                                          const client::ObjectKey& key);

/// Any thread.
class HttpFront {
 public:
  explicit HttpFront(net::HttpProxy& proxy) : proxy_(proxy) {}

  /// Makes the listeners of `part` be these, answered by `routes`. Their names are `part`, or begin with it
  /// and a slash. Returns those of them that could not be opened.
  std::vector<net::HttpListenerFailure> set(const std::string& part, std::vector<net::HttpListener> listeners,
                                            std::shared_ptr<const net::HttpRoutes> routes);

 private:
  struct Part {
    std::vector<net::HttpListener> listeners;
    std::shared_ptr<const net::HttpRoutes> routes;
  };
  net::HttpProxy& proxy_;
  Mutex mutex_;  // held while ports are opened: parts take turns
  std::map<std::string, Part> parts_ GUARDED_BY(mutex_);
};

}  // namespace skiff::proxy
