#include "net/dns_server.hpp"

#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <future>
#include <map>

#include "base/log.hpp"
#include "net/dns_forwarder.hpp"
#include "net/sockets.hpp"
#include "sys/namespaces.hpp"
#include "sys/netlink.hpp"

namespace skiff::net {
namespace {

constexpr size_t kMaxUdpAnswer = 4096;
constexpr size_t kMaxPacket = 65535;
constexpr size_t kMaxClients = 256;
constexpr size_t kMaxUnsent = 256 << 10;  // a client that does not read its answers
constexpr Duration kClientIdle = 10s;
constexpr int kPacketsATurn = 64;
constexpr int kMaxAliases = 8;

}  // namespace

/// Everything on the loop's thread: listeners, TCP clients, the forwarder.
class DnsServer::Serving : public std::enable_shared_from_this<Serving> {
 public:
  Serving(EventLoop& loop, const DnsServerSpec& spec, const DnsZones& zones)
      : loop_(loop), zones_(zones), forwarder_(loop, spec.resolv_conf, {spec.addresses.begin(), spec.addresses.end()}) {}

  struct Listeners {
    std::shared_ptr<UniqueFd> udp;  // shared: forwarded answers may still want it
    UniqueFd tcp;
  };

  Status add(const std::string& id, Listeners listeners) {
    TRY(loop_.watch(listeners.udp->get(), EPOLLIN,
                    [this, udp = listeners.udp](std::uint32_t) { read_packets(udp); }));
    TRY(loop_.watch(listeners.tcp.get(), EPOLLIN,
                    [this, fd = listeners.tcp.get()](std::uint32_t) { accept(fd); }));
    nodes_[id].push_back(std::move(listeners));
    return ok();
  }

  void remove(const std::string& id) {
    auto node = nodes_.find(id);
    if (node == nodes_.end()) return;
    for (Listeners& listeners : node->second) {
      loop_.unwatch(listeners.udp->get());
      loop_.unwatch(listeners.tcp.get());
    }
    nodes_.erase(node);
  }

  void set_upstreams(DnsUpstreams upstreams) { forwarder_.set_upstreams(std::move(upstreams)); }

 private:
  struct Client {
    UniqueFd socket;
    std::string in, out;
    EventLoop::TimerId timer = 0;
  };
  using Reply = DnsForwarder::Reply;

  /// `stream`: the client takes answers of any length.
  void handle(const std::string& packet, bool stream, const Reply& reply) {
    Result<DnsQuery> query = parse_query(packet);
    if (!query.ok()) return reply(refusal(packet));
    std::optional<DnsAnswer> answer = zones_.answer(query.value().name, query.value().type);
    if (!answer) return forwarder_.forward(query.value(), packet, stream, reply);
    follow_alias({std::move(query).value(), stream, reply, kMaxAliases}, std::move(*answer));
  }

  /// A client's question while its answer is put together.
  struct Asked {
    DnsQuery query;
    bool stream;
    Reply reply;
    int aliases_left;
  };

  /// Resolvers in C libraries expect the end of an alias in the same answer, as recursive servers give it.
  void follow_alias(Asked asked, DnsAnswer answer) {
    const DnsTarget* alias =
        answer.answers.empty() ? nullptr : std::get_if<DnsTarget>(&answer.answers.back().data);
    bool wanted = asked.query.type == DnsType::A || asked.query.type == DnsType::Aaaa;
    if (!wanted || alias == nullptr || answer.answers.back().type != DnsType::Cname)
      return finish(asked, answer);
    if (asked.aliases_left-- == 0) return finish(asked, {.code = DnsCode::ServerFailure});
    if (std::optional<DnsAnswer> next = zones_.answer(alias->name, asked.query.type)) {
      DnsAnswer joined = std::move(answer);
      joined.code = next->code;
      joined.authority = std::move(next->authority);
      bool more = !next->answers.empty();
      std::move(next->answers.begin(), next->answers.end(), std::back_inserter(joined.answers));
      return more ? follow_alias(std::move(asked), std::move(joined)) : finish(asked, joined);
    }
    std::string packet = encode_query(asked.query.id, alias->name, asked.query.type);
    Result<DnsQuery> outside = parse_query(packet);
    if (!outside.ok()) return finish(asked, {.code = DnsCode::ServerFailure});
    auto join = [self = weak_from_this(), asked, answer](const std::string& got) {
      auto serving = self.lock();
      if (!serving) return;
      DnsAnswer joined = answer;
      joined.code = DnsCode{static_cast<std::uint8_t>(got[3] & 15)};
      for (DnsRecord& record : read_answers(got)) joined.answers.push_back(std::move(record));
      serving->finish(asked, joined);
    };
    forwarder_.forward(outside.value(), packet, asked.stream, join);
  }

  void finish(const Asked& asked, const DnsAnswer& answer) const {
    size_t limit = asked.stream ? kMaxPacket : std::min<size_t>(asked.query.payload_size, kMaxUdpAnswer);
    asked.reply(encode_answer(asked.query, answer, limit));
  }

  void read_packets(const std::shared_ptr<UniqueFd>& udp) {
    std::string packet;
    for (int i = 0; i < kPacketsATurn; ++i) {
      packet.resize(kMaxUdpAnswer);
      SocketAddress client;
      ssize_t length =
          ::recvfrom(udp->get(), packet.data(), packet.size(), MSG_DONTWAIT, client.get(), &client.size);
      if (length < 0) return;
      packet.resize(static_cast<size_t>(length));
      handle(packet, false, [udp, client](const std::string& answer) {
        if (answer.empty()) return;
        // An answer that cannot be sent is one that got lost: the client asks again.
        (void)::sendto(udp->get(), answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                       client.get(), client.size);
      });
    }
  }

  void accept(int listener) {
    UniqueFd socket(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket || clients_.size() >= kMaxClients) return;
    std::uint64_t id = ++next_client_;
    int fd = socket.get();
    clients_[id].socket = std::move(socket);
    touch(id);
    if (!loop_.watch(fd, EPOLLIN, [this, id](std::uint32_t events) { serve(id, events); }).ok()) drop(id);
  }

  void touch(std::uint64_t id) {
    Client& client = clients_.at(id);
    if (client.timer != 0) loop_.cancel(client.timer);
    client.timer = loop_.after(kClientIdle, [this, id] { drop(id); });
  }

  void drop(std::uint64_t id) {
    auto client = clients_.find(id);
    if (client == clients_.end()) return;
    loop_.cancel(client->second.timer);
    loop_.unwatch(client->second.socket.get());
    clients_.erase(client);
  }

  void serve(std::uint64_t id, std::uint32_t events) {
    if (!clients_.contains(id)) return;
    if ((events & EPOLLOUT) != 0) flush(id);
    if (!clients_.contains(id) || (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
    Client& client = clients_.at(id);
    char buffer[4096];
    ssize_t size = ::recv(client.socket.get(), buffer, sizeof buffer, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) return drop(id);
    client.in.append(buffer, static_cast<size_t>(size));
    touch(id);
    take_queries(id);
  }

  void take_queries(std::uint64_t id) {
    for (;;) {
      auto client = clients_.find(id);
      if (client == clients_.end() || client->second.in.size() < 2) return;
      std::string& in = client->second.in;
      size_t length =
          static_cast<size_t>(static_cast<unsigned char>(in[0])) << 8 | static_cast<unsigned char>(in[1]);
      if (in.size() < length + 2) return;
      std::string packet = in.substr(2, length);
      in.erase(0, length + 2);
      handle(packet, true, [self = weak_from_this(), id](const std::string& answer) {
        if (auto serving = self.lock()) serving->answer_client(id, answer);
      });
    }
  }

  void answer_client(std::uint64_t id, const std::string& answer) {
    auto client = clients_.find(id);
    if (client == clients_.end()) return;
    if (answer.empty() || client->second.out.size() > kMaxUnsent) return drop(id);
    client->second.out += static_cast<char>(answer.size() >> 8);
    client->second.out += static_cast<char>(answer.size() & 255);
    client->second.out += answer;
    flush(id);
  }

  void flush(std::uint64_t id) {
    Client& client = clients_.at(id);
    ssize_t sent = ::send(client.socket.get(), client.out.data(), client.out.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return drop(id);
    if (sent > 0) client.out.erase(0, static_cast<size_t>(sent));
    std::uint32_t events = client.out.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT;
    auto again = [this, id](std::uint32_t next) { serve(id, next); };
    if (!loop_.watch(client.socket.get(), events, again).ok()) drop(id);
  }

  EventLoop& loop_;
  const DnsZones& zones_;
  std::map<std::string, std::vector<Listeners>> nodes_;
  std::uint64_t next_client_ = 0;
  std::map<std::uint64_t, Client> clients_;
  DnsForwarder forwarder_;
};

DnsServer::DnsServer(DnsServerSpec spec, std::unique_ptr<EventLoop> loop, const DnsZones& zones)
    : spec_(std::move(spec)),
      loop_(std::move(loop)),
      serving_(std::make_shared<Serving>(*loop_, spec_, zones)) {}

DnsServer::~DnsServer() = default;

Result<std::unique_ptr<DnsServer>> DnsServer::start(const UniqueFd& upstream, DnsServerSpec spec,
                                                    const DnsZones& zones) {
  TRY_ASSIGN(std::unique_ptr<EventLoop> loop, EventLoop::create());
  UniqueFd home(::dup(upstream.get()));
  if (!home) return errno_error(errno, "dup a network namespace");
  std::unique_ptr<DnsServer> server(new DnsServer(std::move(spec), std::move(loop), zones));
  server->thread_ = std::jthread([loop = server->loop_.get(), home = std::move(home)](std::stop_token stop) {
    ::pthread_setname_np(::pthread_self(), "dns");
    // The resolvers' sockets are opened on this thread: it lives where they are reached.
    Result<sys::NetworkScope> scope = sys::NetworkScope::enter(home);
    if (!scope.ok()) log::error("dns", "{}", scope.error().message());
    loop->run(std::move(stop));
  });
  return server;
}

Status DnsServer::add_node(const std::string& id, const UniqueFd& node, const std::vector<Address>& own) {
  {
    MutexLock lock(mutex_);
    if (!nodes_.insert(id).second) return ok();
  }
  std::vector<Endpoint> endpoints;
  for (const std::vector<Address>* addresses : {&spec_.addresses, &own})
    for (Address address : *addresses) endpoints.push_back({address, spec_.port});
  auto listen = [&](Endpoint endpoint) -> Result<Serving::Listeners> {
    TRY_ASSIGN(UniqueFd udp, sys::in_network(node, [&] { return open_listener(Protocol::Udp, endpoint); }));
    TRY_ASSIGN(UniqueFd tcp, sys::in_network(node, [&] { return open_listener(Protocol::Tcp, endpoint); }));
    return Serving::Listeners{std::make_shared<UniqueFd>(std::move(udp)), std::move(tcp)};
  };
  auto prepare = [&]() -> Result<std::vector<Serving::Listeners>> {
    TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(node));
    TRY_ASSIGN(sys::Link lo, netlink->link("lo"));
    TRY(netlink->set_up(lo.index));
    for (Address address : spec_.addresses)
      TRY(netlink->add_address({lo.index, sys::Prefix::single(address)}));
    std::vector<Serving::Listeners> all;
    for (Endpoint endpoint : endpoints) {
      TRY_ASSIGN(Serving::Listeners one, listen(endpoint));
      all.push_back(std::move(one));
    }
    return all;
  };
  Result<std::vector<Serving::Listeners>> listeners = prepare();
  if (!listeners.ok()) {
    MutexLock lock(mutex_);
    nodes_.erase(id);
    return std::move(listeners).error().in("cluster DNS");
  }
  auto held = std::make_shared<std::vector<Serving::Listeners>>(std::move(listeners).value());
  loop_->post([serving = serving_, id, held] {
    for (Serving::Listeners& one : *held)
      if (Status added = serving->add(id, std::move(one)); !added.ok())
        log::error("dns", "{}: {}", id, added.error().message());
  });
  return ok();
}

void DnsServer::set_upstreams(DnsUpstreams upstreams) {
  std::promise<void> taken;
  loop_->post([&] {
    serving_->set_upstreams(std::move(upstreams));
    taken.set_value();
  });
  taken.get_future().wait();
}

void DnsServer::remove_node(const std::string& id) {
  MutexLock lock(mutex_);
  if (nodes_.erase(id) > 0) loop_->post([serving = serving_, id] { serving->remove(id); });
}

}  // namespace skiff::net
