#pragma once
// A reverse proxy for HTTP/1 and HTTP/2: one thread that takes connections in any namespace and leads each request to
// one of several servers, as routes say.

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/event_loop.hpp"
#include "base/fd.hpp"
#include "base/random.hpp"
#include "net/http_connection.hpp"
#include "net/http_routes.hpp"

namespace skiff::net {

struct HttpListener {
  std::string network;  // a name given to add_network()
  Endpoint listen;
  bool tls = false;
  std::string name;  // what routes tell listeners apart by
  auto operator<=>(const HttpListener&) const = default;
};

struct HttpListenerFailure {
  HttpListener listener;
  Error error;  // System with EADDRINUSE: the port is taken
};

/// Any thread.
class HttpProxy {
 public:
  /// `servers` is the namespace that servers are reached from.
  static Result<std::unique_ptr<HttpProxy>> start(UniqueFd servers, Random& random, const HttpLimits& limits = {});
  ~HttpProxy();

  /// From now on servers are reached from `network`. Requests under way go on.
  Status move_to(UniqueFd network);
  /// Names a namespace to listen in. All addresses of the ranges, which are small, are put on its loopback. Idempotent.
  Status add_network(const std::string& name, const UniqueFd& network, const std::vector<Cidr>& addresses = {});
  /// Closes its listeners; connections go on.
  void remove_network(const std::string& name);

  /// Makes the open ports be `wanted`; returns those that could not be opened, which are tried again by the
  /// next call. Connections through a port that is closed end with their request.
  std::vector<HttpListenerFailure> set_listeners(const std::vector<HttpListener>& wanted);
  /// From the next request on. Returns at once.
  void set_routes(std::shared_ptr<const HttpRoutes> routes);

 private:
  class Serving;
  HttpProxy(std::unique_ptr<EventLoop> loop, Random& random, const HttpLimits& limits);

  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Serving> serving_;  // what lives on the loop's thread
  std::jthread thread_;
};

}  // namespace skiff::net
