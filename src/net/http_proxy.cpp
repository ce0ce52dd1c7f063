#include "net/http_proxy.hpp"

#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <future>
#include <set>

#include "base/log.hpp"
#include "net/http_connection.hpp"
#include "net/sockets.hpp"
#include "sys/files.hpp"
#include "sys/namespaces.hpp"
#include "sys/netlink.hpp"

namespace skiff::net {
namespace {

constexpr size_t kMaxConnections = 16384;
constexpr int kAcceptsATurn = 64;
constexpr Duration kRefuseFor = 100ms;

}  // namespace

/// Everything on the loop's thread, which is in the servers' namespace.
class HttpProxy::Serving {
 public:
  Serving(EventLoop& loop, Random& random)
      : loop_(loop), random_(random.next()), upstreams_(loop), shared_{loop, upstreams_, random_, nullptr} {}

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
      sockaddr_in from{};
      socklen_t size = sizeof from;
      UniqueFd socket(::accept4(port->second.get(), reinterpret_cast<sockaddr*>(&from), &size,
                                SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!socket && (errno == EMFILE || errno == ENFILE)) return pause(listener);
      if (!socket) return;
      if (connections_.size() >= kMaxConnections && !end_an_idle_one()) continue;
      serve(listener, std::move(socket), endpoint_of(from));
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
    std::uint64_t id = ++next_;
    HttpClientFacts facts{peer, listener.listen, listener.name, listener.tls};
    auto connection = std::make_unique<HttpConnection>(shared_, std::move(channel), std::move(facts),
                                                       [this, id] { connections_.erase(id); });
    if (connection->start().ok()) connections_[id] = std::move(connection);
  }

  EventLoop& loop_;
  SeededRandom random_;
  HttpUpstreams upstreams_;
  HttpShared shared_;
  std::unique_ptr<TlsServer> tls_;
  std::map<std::string, UniqueFd> networks_;
  std::map<HttpListener, UniqueFd> ports_;
  std::uint64_t next_ = 0;
  std::map<std::uint64_t, std::unique_ptr<HttpConnection>> connections_;
};

HttpProxy::HttpProxy(UniqueFd servers, std::unique_ptr<EventLoop> loop, Random& random)
    : servers_(std::move(servers)),
      loop_(std::move(loop)),
      serving_(std::make_unique<Serving>(*loop_, random)) {}

HttpProxy::~HttpProxy() = default;

Result<std::unique_ptr<HttpProxy>> HttpProxy::start(UniqueFd servers, Random& random) {
  TRY_ASSIGN(std::unique_ptr<EventLoop> loop, EventLoop::create());
  std::unique_ptr<HttpProxy> proxy(new HttpProxy(std::move(servers), std::move(loop), random));
  proxy->thread_ = std::jthread([self = proxy.get()](std::stop_token stop) {
    ::pthread_setname_np(::pthread_self(), "http-proxy");
    Result<sys::NetworkScope> scope = sys::NetworkScope::enter(self->servers_);
    if (!scope.ok()) log::error("http-proxy", "{}", scope.error().message());
    self->loop_->run(std::move(stop));
  });
  return proxy;
}

Status HttpProxy::add_network(const std::string& name, const UniqueFd& network,
                              std::optional<Cidr> addresses) {
  TRY_ASSIGN(UniqueFd held, sys::duplicate(network));
  if (addresses) {
    TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(network));
    TRY_ASSIGN(sys::Link lo, netlink->link("lo"));
    TRY(netlink->add_address({lo.index, {addresses->base.value, addresses->length}}));
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
