#include "net/relays.hpp"

#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <future>
#include <map>
#include <optional>

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

bool lets_in(const RelaySpec& spec, Address client) {
  return spec.sources.empty() || std::any_of(spec.sources.begin(), spec.sources.end(),
                                             [&](const Cidr& range) { return range.contains(client); });
}

}  // namespace

/// Everything on the loop's thread, which is in the node's namespace: targets are dialled from there.
class Relays::Serving {
 public:
  Serving(EventLoop& loop, const UniqueFd& host) : loop_(loop), host_(host) {}

  std::vector<RelayFailure> set(const std::vector<RelaySpec>& wanted) {
    std::map<PortId, RelaySpec> next;
    for (const RelaySpec& spec : wanted) next.emplace(PortId{spec.protocol, spec.listen}, spec);
    for (auto port = ports_.begin(); port != ports_.end();) {
      auto gone = port++;
      if (!next.contains(gone->first)) close(gone->first);
    }
    std::vector<RelayFailure> failures;
    for (const auto& [id, spec] : next) {
      if (auto port = ports_.find(id); port != ports_.end()) {
        change(port->second, spec);
        continue;
      }
      if (Status opened = open(id, spec); !opened.ok()) failures.push_back({spec, opened.error()});
    }
    return failures;
  }

  /// The thread is in the node's namespace from now on, until leave().
  Status enter(const UniqueFd& node) {
    inside_.reset();
    TRY_ASSIGN(sys::NetworkScope scope, sys::NetworkScope::enter(node));
    inside_.emplace(std::move(scope));
    for (auto& [id, port] : ports_) forget_flows(port);
    return ok();
  }
  void leave() { inside_.reset(); }

 private:
  /// One UDP client's packets, and the way back for the answers.
  struct Flow {
    UniqueFd socket;
    TimePoint used;
  };
  using PortId = std::pair<Protocol, Endpoint>;
  struct Port {
    RelaySpec spec;
    UniqueFd listener;
    std::map<Endpoint, Flow> flows;
  };

  Status open(const PortId& id, const RelaySpec& spec) {
    TRY_ASSIGN(UniqueFd listener,
               sys::in_network(host_, [&] { return open_listener(spec.protocol, spec.listen); }));
    bool udp = spec.protocol == Protocol::Udp;
    TRY(loop_.watch(listener.get(), EPOLLIN,
                    [this, id, udp](std::uint32_t) { udp ? receive(id) : accept(id); }));
    Port& port = ports_[id];
    port.spec = spec;
    port.listener = std::move(listener);
    return ok();
  }

  void change(Port& port, const RelaySpec& spec) {
    if (port.spec.target != spec.target) forget_flows(port);
    port.spec = spec;
  }

  void forget_flows(Port& port) {
    for (auto& [client, flow] : port.flows) loop_.unwatch(flow.socket.get());
    flows_ -= port.flows.size();
    port.flows.clear();
  }

  void close(const PortId& id) {
    Port& port = ports_.at(id);
    loop_.unwatch(port.listener.get());
    forget_flows(port);
    ports_.erase(id);
  }

  void accept(const PortId& id) {
    for (int i = 0; i < kAcceptsATurn; ++i) {
      const Port& port = ports_.at(id);
      SocketAddress from;
      UniqueFd client(::accept4(port.listener.get(), from.get(), &from.size, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!client && (errno == EMFILE || errno == ENFILE)) return pause(id);
      if (!client) return;
      if (lets_in(port.spec, from.endpoint().address) && streams_.size() < kMaxStreams)
        connect(std::move(client), port.spec.target);
    }
  }

  /// Out of descriptors: the waiting connection would wake us without end.
  void pause(const PortId& id) {
    loop_.unwatch(ports_.at(id).listener.get());
    loop_.after(kRefuseFor, [this, id] {
      auto port = ports_.find(id);
      if (port == ports_.end()) return;
      (void)loop_.watch(port->second.listener.get(), EPOLLIN, [this, id](std::uint32_t) { accept(id); });
    });
  }

  void connect(UniqueFd client, Endpoint target) {
    Result<UniqueFd> socket = open_socket(Protocol::Tcp, target.address.family);
    if (!socket.ok() || !connect_socket(socket.value(), target).ok()) return;
    std::uint64_t id = ++next_stream_;
    auto stream = std::make_unique<RelayStream>(loop_, std::move(client), std::move(socket).value(),
                                                [this, id] { streams_.erase(id); });
    if (stream->start().ok()) streams_[id] = std::move(stream);
  }

  void receive(const PortId& id) {
    Port& port = ports_.at(id);
    char packet[65536];
    for (int i = 0; i < kAcceptsATurn; ++i) {
      SocketAddress from;
      ssize_t size =
          ::recvfrom(port.listener.get(), packet, sizeof packet, MSG_DONTWAIT, from.get(), &from.size);
      if (size < 0) return;
      if (!lets_in(port.spec, from.endpoint().address)) continue;
      Flow* flow = flow_of(id, from.endpoint());
      if (flow == nullptr) continue;
      flow->used = std::chrono::steady_clock::now();
      (void)::send(flow->socket.get(), packet, static_cast<size_t>(size), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
  }

  /// Null when no more can be had: the packet is lost, as packets may be.
  Flow* flow_of(const PortId& id, Endpoint client) {
    Port& port = ports_.at(id);
    auto known = port.flows.find(client);
    if (known != port.flows.end()) return &known->second;
    if (flows_ >= kMaxFlows) return nullptr;
    Result<UniqueFd> socket = open_socket(Protocol::Udp, port.spec.target.address.family);
    if (!socket.ok() || !connect_socket(socket.value(), port.spec.target).ok()) return nullptr;
    auto answer = [this, id, client](std::uint32_t) { send_back(id, client); };
    if (!loop_.watch(socket.value().get(), EPOLLIN, answer).ok()) return nullptr;
    ++flows_;
    loop_.after(kFlowIdle, [this, id, client] { expire(id, client); });
    Flow& flow = port.flows[client];
    flow.socket = std::move(socket).value();
    return &flow;
  }

  void send_back(const PortId& id, Endpoint client) {
    Port& port = ports_.at(id);
    Flow& flow = port.flows.at(client);
    char packet[65536];
    ssize_t size = ::recv(flow.socket.get(), packet, sizeof packet, MSG_DONTWAIT);
    if (size < 0) return;
    flow.used = std::chrono::steady_clock::now();
    SocketAddress to(client);
    (void)::sendto(port.listener.get(), packet, static_cast<size_t>(size), MSG_DONTWAIT | MSG_NOSIGNAL,
                   to.get(), to.size);
  }

  void expire(const PortId& id, Endpoint client) {
    auto port = ports_.find(id);
    if (port == ports_.end()) return;
    auto flow = port->second.flows.find(client);
    if (flow == port->second.flows.end()) return;
    Duration left = flow->second.used + kFlowIdle - std::chrono::steady_clock::now();
    if (left > 0s) {
      loop_.after(left, [this, id, client] { expire(id, client); });
      return;
    }
    loop_.unwatch(flow->second.socket.get());
    port->second.flows.erase(flow);
    --flows_;
  }

  EventLoop& loop_;
  const UniqueFd& host_;
  std::optional<sys::NetworkScope> inside_;
  std::map<PortId, Port> ports_;
  size_t flows_ = 0;
  std::uint64_t next_stream_ = 0;
  std::map<std::uint64_t, std::unique_ptr<RelayStream>> streams_;
};

Relays::Relays(UniqueFd host, std::unique_ptr<EventLoop> loop)
    : host_(std::move(host)),
      loop_(std::move(loop)),
      serving_(std::make_unique<Serving>(*loop_, host_)) {}

Relays::~Relays() = default;

Result<std::unique_ptr<Relays>> Relays::start(UniqueFd host, UniqueFd node) {
  TRY_ASSIGN(std::unique_ptr<EventLoop> loop, EventLoop::create());
  std::unique_ptr<Relays> relays(new Relays(std::move(host), std::move(loop)));
  relays->thread_ = std::jthread([self = relays.get()](std::stop_token stop) {
    ::pthread_setname_np(::pthread_self(), "relays");
    self->loop_->run(std::move(stop));
    self->serving_->leave();
  });
  TRY(relays->move_to(std::move(node)));
  return relays;
}

Status Relays::move_to(UniqueFd node) {
  std::promise<Status> done;
  loop_->post([&] { done.set_value(serving_->enter(node)); });
  return done.get_future().get();
}

std::vector<RelayFailure> Relays::set(const std::vector<RelaySpec>& wanted) {
  std::promise<std::vector<RelayFailure>> done;
  loop_->post([&] { done.set_value(serving_->set(wanted)); });
  return done.get_future().get();
}

}  // namespace skiff::net
