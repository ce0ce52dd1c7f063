#include "net/http_proxy.hpp"

#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <future>
#include <set>

#include "base/log.hpp"
#include "net/http2_connection.hpp"
#include "net/http_connection.hpp"
#include "net/sockets.hpp"
#include "sys/files.hpp"
#include "sys/namespaces.hpp"
#include "sys/netlink.hpp"

namespace skiff::net {
namespace {

constexpr int kAcceptsATurn = 64;
constexpr Duration kRefuseFor = 100ms;

/// A range on a loopback is all its addresses in IPv4, but one in IPv6.
Status add_to_loopback(sys::Netlink& netlink, const Cidr& range) {
  TRY_ASSIGN(sys::Link lo, netlink.link("lo"));
  if (range.family() == Family::V4) return netlink.add_address({lo.index, {range.base, range.length}});
  for (std::uint64_t i = 0; i < range.size(); ++i)
    TRY(netlink.add_address({lo.index, sys::Prefix::single(range.at(i))}));
  return ok();
}

}  // namespace

/// Everything on the loop's thread, which is in the servers' namespace.
class HttpProxy::Serving {
 public:
  Serving(EventLoop& loop, Random& random, const HttpLimits& limits)
      : loop_(loop), random_(random.next()), upstreams_(loop), shared_{loop, upstreams_, random_, limits} {
    shared_.serve_http2 = [this](std::unique_ptr<Channel> client, std::string received, const HttpClientFacts& facts) {
      serve_http2(std::move(client), received, facts);
    };
    shared_.speak_http2 = [this](UniqueFd server) { return speak_http2(std::move(server)); };
  }

  /// The thread is in the servers' namespace from now on, until leave().
  Status enter(const UniqueFd& network) {
    inside_.reset();
    TRY_ASSIGN(sys::NetworkScope scope, sys::NetworkScope::enter(network));
    inside_.emplace(std::move(scope));
    upstreams_.clear();
    return ok();
  }
  void leave() { inside_.reset(); }

  void add_network(const std::string& name, UniqueFd network) { networks_[name] = std::move(network); }
  void remove_network(const std::string& name) {
    for (auto port = ports_.begin(); port != ports_.end();) {
      auto gone = port++;
      if (gone->first.network == name) close(gone->first);
    }
    networks_.erase(name);
  }

  std::vector<HttpListenerFailure> set_listeners(const std::vector<HttpListener>& wanted) {
    std::set<HttpListener> next(wanted.begin(), wanted.end());
    for (auto port = ports_.begin(); port != ports_.end();) {
      auto gone = port++;
      if (!next.contains(gone->first)) close(gone->first);
    }
    std::vector<HttpListenerFailure> failures;
    for (const HttpListener& listener : next) {
      if (ports_.contains(listener)) continue;
      if (Status opened = open(listener); !opened.ok()) failures.push_back({listener, opened.error()});
    }
    return failures;
  }

  void set_routes(std::shared_ptr<const HttpRoutes> routes) { shared_.routes = std::move(routes); }

 private:
  Status open(const HttpListener& listener) {
    auto network = networks_.find(listener.network);
    if (network == networks_.end()) return error(Code::NotFound, "no network '{}'", listener.network);
    if (listener.tls && !tls_) {
      TRY_ASSIGN(tls_, TlsServer::create());
    }
    TRY_ASSIGN(UniqueFd socket, sys::in_network(network->second, [&] {
                 return open_listener(Protocol::Tcp, listener.listen);
               }));
    TRY(loop_.watch(socket.get(), EPOLLIN, [this, listener](std::uint32_t) { accept(listener); }));
    ports_[listener] = std::move(socket);
    return ok();
  }

  void close(const HttpListener& listener) {
    loop_.unwatch(ports_.at(listener).get());
    ports_.erase(listener);
  }

  void accept(const HttpListener& listener) {
    for (int i = 0; i < kAcceptsATurn; ++i) {
      auto port = ports_.find(listener);
      if (port == ports_.end()) return;
      SocketAddress from;
      UniqueFd socket(::accept4(port->second.get(), from.get(), &from.size, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!socket && (errno == EMFILE || errno == ENFILE)) return pause(listener);
      if (!socket) return;
      if (connections_.size() + http2_.size() >= shared_.limits.connections && !end_an_idle_one()) continue;
      serve(listener, std::move(socket), from.endpoint());
    }
  }

  /// Out of descriptors: the waiting connection would wake us without end.
  void pause(const HttpListener& listener) {
    loop_.unwatch(ports_.at(listener).get());
    loop_.after(kRefuseFor, [this, listener] {
      auto port = ports_.find(listener);
      if (port == ports_.end()) return;
      (void)loop_.watch(port->second.get(), EPOLLIN, [this, listener](std::uint32_t) { accept(listener); });
    });
  }

  bool end_an_idle_one() {
    for (auto& [id, connection] : connections_)
      if (connection->idle()) return connections_.erase(id), true;
    return false;
  }

  void serve(const HttpListener& listener, UniqueFd socket, Endpoint peer) {
    int one = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    std::unique_ptr<Channel> channel;
    if (listener.tls) {
      auto choose = [this, name = listener.name](const std::string& host) {
        return shared_.routes ? shared_.routes->certificate(name, host) : nullptr;
      };
      Result<std::unique_ptr<Channel>> accepted = tls_->accept(std::move(socket), choose);
      if (!accepted.ok()) return;
      channel = std::move(accepted).value();
    } else {
      channel = plain_channel(std::move(socket));
    }
    serve(std::move(channel), {peer, listener.listen, listener.name, listener.tls});
  }

  void serve(std::unique_ptr<Channel> channel, HttpClientFacts facts) {
    std::uint64_t id = ++next_;
    auto connection = std::make_unique<HttpConnection>(shared_, std::move(channel), std::move(facts),
                                                       [this, id] { connections_.erase(id); });
    if (connection->start().ok()) connections_[id] = std::move(connection);
  }

  /// Each stream is a client of HTTP/1 to the rest of the proxy.
  void serve_http2(std::unique_ptr<Channel> client, const std::string& received, const HttpClientFacts& facts) {
    std::uint64_t id = ++next_;
    auto on_stream = [this, facts](UniqueFd stream) {
      if (connections_.size() < shared_.limits.connections) serve(plain_channel(std::move(stream)), facts);
    };
    auto connection = std::make_unique<Http2Connection>(loop_, std::move(client), std::move(on_stream),
                                                        [this, id] { http2_.erase(id); });
    start(id, std::move(connection), received);
  }

  Result<UniqueFd> speak_http2(UniqueFd server) {
    std::uint64_t id = ++next_;
    auto connection = std::make_unique<Http2Connection>(loop_, plain_channel(std::move(server)),
                                                        [this, id] { http2_.erase(id); });
    TRY_ASSIGN(UniqueFd stream, connection->open_stream());
    start(id, std::move(connection), "");
    return stream;
  }

  void start(std::uint64_t id, std::unique_ptr<Http2Connection> connection, const std::string& received) {
    Http2Connection& started = *connection;
    http2_[id] = std::move(connection);
    if (Status begun = started.start(received); !begun.ok()) {  // after a good start it may be gone already
      log::debug("http-proxy", "{}", begun.error().message());
      http2_.erase(id);
    }
  }

  EventLoop& loop_;
  std::optional<sys::NetworkScope> inside_;
  SeededRandom random_;
  HttpUpstreams upstreams_;
  HttpShared shared_;
  std::unique_ptr<TlsServer> tls_;
  std::map<std::string, UniqueFd> networks_;
  std::map<HttpListener, UniqueFd> ports_;
  std::uint64_t next_ = 0;
  std::map<std::uint64_t, std::unique_ptr<HttpConnection>> connections_;
  std::map<std::uint64_t, std::unique_ptr<Http2Connection>> http2_;
};

HttpProxy::HttpProxy(std::unique_ptr<EventLoop> loop, Random& random, const HttpLimits& limits)
    : loop_(std::move(loop)),
      serving_(std::make_unique<Serving>(*loop_, random, limits)) {}

HttpProxy::~HttpProxy() = default;

Result<std::unique_ptr<HttpProxy>> HttpProxy::start(UniqueFd servers, Random& random,
                                                    const HttpLimits& limits) {
  TRY_ASSIGN(std::unique_ptr<EventLoop> loop, EventLoop::create());
  std::unique_ptr<HttpProxy> proxy(new HttpProxy(std::move(loop), random, limits));
  proxy->thread_ = std::jthread([self = proxy.get()](std::stop_token stop) {
    ::pthread_setname_np(::pthread_self(), "http-proxy");
    self->loop_->run(std::move(stop));
    self->serving_->leave();
  });
  TRY(proxy->move_to(std::move(servers)));
  return proxy;
}

Status HttpProxy::move_to(UniqueFd network) {
  std::promise<Status> done;
  loop_->post([&] { done.set_value(serving_->enter(network)); });
  return done.get_future().get();
}

Status HttpProxy::add_network(const std::string& name, const UniqueFd& network,
                              const std::vector<Cidr>& addresses) {
  TRY_ASSIGN(UniqueFd held, sys::duplicate(network));
  for (const Cidr& range : addresses) {
    TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(network));
    TRY(add_to_loopback(*netlink, range));
  }
  auto shared = std::make_shared<UniqueFd>(std::move(held));
  loop_->post([this, name, shared] { serving_->add_network(name, std::move(*shared)); });
  return ok();
}

void HttpProxy::remove_network(const std::string& name) {
  loop_->post([this, name] { serving_->remove_network(name); });
}

std::vector<HttpListenerFailure> HttpProxy::set_listeners(const std::vector<HttpListener>& wanted) {
  std::promise<std::vector<HttpListenerFailure>> done;
  loop_->post([&] { done.set_value(serving_->set_listeners(wanted)); });
  return done.get_future().get();
}

void HttpProxy::set_routes(std::shared_ptr<const HttpRoutes> routes) {
  loop_->post([this, routes = std::move(routes)] { serving_->set_routes(routes); });
}

}  // namespace skiff::net
