#include "net/relays.hpp"

#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <future>
#include <map>

#include "base/log.hpp"
#include "net/relay_stream.hpp"
#include "net/sockets.hpp"
#include "sys/namespaces.hpp"

namespace skiff::net {
namespace {

constexpr size_t kMaxStreams = 16384;
constexpr size_t kMaxFlows = 4096;
constexpr Duration kFlowIdle = 60s;
constexpr Duration kRefuseFor = 100ms;
constexpr int kAcceptsATurn = 64;

bool lets_in(const RelaySpec& spec, Ipv4 client) {
  return spec.sources.empty() || std::any_of(spec.sources.begin(), spec.sources.end(),
                                             [&](const Cidr& range) { return range.contains(client); });
}

}  // namespace

/// Everything on the loop's thread, which is in the node's namespace: targets are dialled from there.
class Relays::Serving {
 public:
  Serving(EventLoop& loop, const UniqueFd& host) : loop_(loop), host_(host) {}

  std::vector<RelayFailure> set(const std::vector<RelaySpec>& wanted) {
    std::set<RelaySpec> next(wanted.begin(), wanted.end());
    for (auto port = ports_.begin(); port != ports_.end();) {
      auto gone = port++;
      if (!next.contains(gone->first)) close(gone->first);
    }
    std::vector<RelayFailure> failures;
    for (const RelaySpec& spec : next) {
      if (ports_.contains(spec)) continue;
      if (Status opened = open(spec); !opened.ok()) failures.push_back({spec, opened.error()});
    }
    return failures;
  }

 private:
  /// One UDP client's packets, and the way back for the answers.
  struct Flow {
    UniqueFd socket;
    TimePoint used;
  };
  struct Port {
    UniqueFd listener;
    std::map<Endpoint, Flow> flows;
  };

  Status open(const RelaySpec& spec) {
    TRY_ASSIGN(UniqueFd listener,
               sys::in_network(host_, [&] { return open_listener(spec.protocol, spec.listen); }));
    bool udp = spec.protocol == Protocol::Udp;
    TRY(loop_.watch(listener.get(), EPOLLIN,
                    [this, spec, udp](std::uint32_t) { udp ? receive(spec) : accept(spec); }));
    ports_[spec].listener = std::move(listener);
    return ok();
  }

  void close(const RelaySpec& spec) {
    Port& port = ports_.at(spec);
    loop_.unwatch(port.listener.get());
    for (auto& [client, flow] : port.flows) loop_.unwatch(flow.socket.get());
    flows_ -= port.flows.size();
    ports_.erase(spec);
  }

  void accept(const RelaySpec& spec) {
    for (int i = 0; i < kAcceptsATurn; ++i) {
      int listener = ports_.at(spec).listener.get();
      sockaddr_in from{};
      socklen_t length = sizeof from;
      UniqueFd client(
          ::accept4(listener, reinterpret_cast<sockaddr*>(&from), &length, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!client && (errno == EMFILE || errno == ENFILE)) return pause(spec);
      if (!client) return;
      if (lets_in(spec, endpoint_of(from).address) && streams_.size() < kMaxStreams)
        connect(std::move(client), spec.target);
    }
  }

  /// Out of descriptors: the waiting connection would wake us without end.
  void pause(const RelaySpec& spec) {
    loop_.unwatch(ports_.at(spec).listener.get());
    loop_.after(kRefuseFor, [this, spec] {
      auto port = ports_.find(spec);
      if (port == ports_.end()) return;
      (void)loop_.watch(port->second.listener.get(), EPOLLIN, [this, spec](std::uint32_t) { accept(spec); });
    });
  }

  void connect(UniqueFd client, Endpoint target) {
    Result<UniqueFd> socket = open_socket(Protocol::Tcp);
    if (!socket.ok() || !connect_socket(socket.value(), target).ok()) return;
    std::uint64_t id = ++next_stream_;
    auto stream = std::make_unique<RelayStream>(loop_, std::move(client), std::move(socket).value(),
                                                [this, id] { streams_.erase(id); });
    if (stream->start().ok()) streams_[id] = std::move(stream);
  }

  void receive(const RelaySpec& spec) {
    Port& port = ports_.at(spec);
    char packet[65536];
    for (int i = 0; i < kAcceptsATurn; ++i) {
      sockaddr_in from{};
      socklen_t length = sizeof from;
      ssize_t size = ::recvfrom(port.listener.get(), packet, sizeof packet, MSG_DONTWAIT,
                                reinterpret_cast<sockaddr*>(&from), &length);
      if (size < 0) return;
      if (!lets_in(spec, endpoint_of(from).address)) continue;
      Flow* flow = flow_of(spec, endpoint_of(from));
      if (flow == nullptr) continue;
      flow->used = std::chrono::steady_clock::now();
      (void)::send(flow->socket.get(), packet, static_cast<size_t>(size), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
  }

  /// Null when no more can be had: the packet is lost, as packets may be.
  Flow* flow_of(const RelaySpec& spec, Endpoint client) {
    Port& port = ports_.at(spec);
    auto known = port.flows.find(client);
    if (known != port.flows.end()) return &known->second;
    if (flows_ >= kMaxFlows) return nullptr;
    Result<UniqueFd> socket = open_socket(Protocol::Udp);
    if (!socket.ok() || !connect_socket(socket.value(), spec.target).ok()) return nullptr;
    auto answer = [this, spec, client](std::uint32_t) { send_back(spec, client); };
    if (!loop_.watch(socket.value().get(), EPOLLIN, answer).ok()) return nullptr;
    ++flows_;
    loop_.after(kFlowIdle, [this, spec, client] { expire(spec, client); });
    Flow& flow = port.flows[client];
    flow.socket = std::move(socket).value();
    return &flow;
  }

  void send_back(const RelaySpec& spec, Endpoint client) {
    Port& port = ports_.at(spec);
    Flow& flow = port.flows.at(client);
    char packet[65536];
    ssize_t size = ::recv(flow.socket.get(), packet, sizeof packet, MSG_DONTWAIT);
    if (size < 0) return;
    flow.used = std::chrono::steady_clock::now();
    sockaddr_in to = socket_address(client);
    (void)::sendto(port.listener.get(), packet, static_cast<size_t>(size), MSG_DONTWAIT | MSG_NOSIGNAL,
                   reinterpret_cast<sockaddr*>(&to), sizeof to);
  }

  void expire(const RelaySpec& spec, Endpoint client) {
    auto port = ports_.find(spec);
    if (port == ports_.end()) return;
    auto flow = port->second.flows.find(client);
    if (flow == port->second.flows.end()) return;
    Duration left = flow->second.used + kFlowIdle - std::chrono::steady_clock::now();
    if (left > 0s) {
      loop_.after(left, [this, spec, client] { expire(spec, client); });
      return;
    }
    loop_.unwatch(flow->second.socket.get());
    port->second.flows.erase(flow);
    --flows_;
  }

  EventLoop& loop_;
  const UniqueFd& host_;
  std::map<RelaySpec, Port> ports_;
  size_t flows_ = 0;
  std::uint64_t next_stream_ = 0;
  std::map<std::uint64_t, std::unique_ptr<RelayStream>> streams_;
};

Relays::Relays(UniqueFd host, UniqueFd node, std::unique_ptr<EventLoop> loop)
    : host_(std::move(host)),
      node_(std::move(node)),
      loop_(std::move(loop)),
      serving_(std::make_unique<Serving>(*loop_, host_)) {}

Relays::~Relays() = default;

Result<std::unique_ptr<Relays>> Relays::start(UniqueFd host, UniqueFd node) {
  TRY_ASSIGN(std::unique_ptr<EventLoop> loop, EventLoop::create());
  std::unique_ptr<Relays> relays(new Relays(std::move(host), std::move(node), std::move(loop)));
  relays->thread_ = std::jthread([self = relays.get()](std::stop_token stop) {
    ::pthread_setname_np(::pthread_self(), "relays");
    Result<sys::NetworkScope> scope = sys::NetworkScope::enter(self->node_);
    if (!scope.ok()) log::error("relays", "{}", scope.error().message());
    self->loop_->run(std::move(stop));
  });
  return relays;
}

std::vector<RelayFailure> Relays::set(const std::vector<RelaySpec>& wanted) {
  std::promise<std::vector<RelayFailure>> done;
  loop_->post([&] { done.set_value(serving_->set(wanted)); });
  return done.get_future().get();
}

}  // namespace skiff::net
