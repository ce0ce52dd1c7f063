#pragma once
// What the proxy asks about each request: where it goes, or what is answered.

#include <atomic>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.hpp"
#include "net/address.hpp"
#include "net/http_head.hpp"
#include "net/tls.hpp"

namespace skiff::net {

/// A request as routes see it; valid during the call.
struct HttpQuestion {
  const HttpRequestHead& head;
  const std::string& path;  // normal_path() of the target
  std::string_view query;   // without '?'
  bool tls;
  const std::string& listener;  // the name of the listener it came by
};

/// Servers that can take a request, in turn.
struct HttpBackends {
  std::vector<Endpoint> endpoints;
  bool http2 = false;  // they speak HTTP/2 without TLS (h2c), such as servers of gRPC
  mutable std::atomic<std::uint32_t> turn{0};
};

struct HttpHeaderChanges {
  HttpHeaders set, add;
  std::vector<std::string> remove;
};

struct HttpForward {
  std::shared_ptr<const HttpBackends> backends;  // none in it: 503
  std::string target;                            // empty: the request's own
  std::string host;                              // for the Host header; empty: the request's own
  std::uint64_t max_body = 0;                    // bytes; 0: any
  Duration connect_timeout = 5s, answer_timeout = 60s;
  HttpHeaderChanges request, response;
  std::vector<std::shared_ptr<const HttpBackends>> mirrors{};  // one server of each gets a copy
};

struct HttpAnswer {
  int status = 404;
  HttpHeaders headers;
  std::string body;  // empty: a page that says the status
  std::string content_type = "text/html";
};

using HttpDecision = std::variant<HttpAnswer, HttpForward>;

/// Immutable once the proxy has it; called on the proxy's thread.
class HttpRoutes {
 public:
  virtual ~HttpRoutes() = default;
  virtual HttpDecision decide(const HttpQuestion& question) const = 0;
  virtual std::shared_ptr<const TlsCertificate> certificate(const std::string& listener,
                                                            const std::string& name) const = 0;
};

}  // namespace skiff::net
