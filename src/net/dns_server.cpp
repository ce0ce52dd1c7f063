#include "net/dns_server.hpp"

#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <future>
#include <map>
#include <vector>

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
constexpr unsigned kPacketsATurn = 32;
constexpr int kMaxAliases = 8;

/// Packets that are taken from a socket, and their answers that go back, by one system call each.
class Packets {
 public:
  /// How many came; they are there until the next call.
  size_t receive(const UniqueFd& socket) {
    for (unsigned i = 0; i < kPacketsATurn; ++i) {
      parts_[i] = {buffers_.data() + i * kMaxUdpAnswer, kMaxUdpAnswer};
      clients_[i] = SocketAddress();
      heads_[i].msg_hdr = {.msg_name = &clients_[i].raw, .msg_namelen = clients_[i].size, .msg_iov = &parts_[i], .msg_iovlen = 1};
    }
    int count = ::recvmmsg(socket.get(), heads_.data(), kPacketsATurn, MSG_DONTWAIT, nullptr);
    return count < 0 ? 0 : static_cast<size_t>(count);
  }
  std::string_view packet(size_t i) const { return {buffers_.data() + i * kMaxUdpAnswer, heads_[i].msg_len}; }
  SocketAddress client(size_t i) const {
    SocketAddress client = clients_[i];
    client.size = heads_[i].msg_hdr.msg_namelen;
    return client;
  }

  void answer(const SocketAddress& client, std::string packet) { answers_.emplace_back(client, std::move(packet)); }
  /// An answer that cannot be sent is one that got lost: the client asks again.
  void send(const UniqueFd& socket) {
    std::vector<mmsghdr> heads(answers_.size());
    std::vector<iovec> parts(answers_.size());
    for (size_t i = 0; i < answers_.size(); ++i) {
      auto& [client, packet] = answers_[i];
      parts[i] = {packet.data(), packet.size()};
      heads[i].msg_hdr = {.msg_name = &client.raw, .msg_namelen = client.size, .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    for (size_t sent = 0; sent < heads.size();) {
      int count = ::sendmmsg(socket.get(), heads.data() + sent, static_cast<unsigned>(heads.size() - sent), MSG_DONTWAIT | MSG_NOSIGNAL);
      sent += count > 0 ? static_cast<size_t>(count) : 1;
    }
    answers_.clear();
  }

 private:
  std::vector<char> buffers_ = std::vector<char>(kPacketsATurn * kMaxUdpAnswer);
  std::array<SocketAddress, kPacketsATurn> clients_;
  std::array<iovec, kPacketsATurn> parts_;
  std::array<mmsghdr, kPacketsATurn> heads_{};
  std::vector<std::pair<SocketAddress, std::string>> answers_;
};

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

  void ask(const std::string& name, DnsType type, DnsForwarder::Reply reply) {
    handle(encode_query(0, name, type), {nullptr, {}, 0, std::make_shared<DnsForwarder::Reply>(std::move(reply))});
  }

  void set_upstreams(DnsUpstreams upstreams) { forwarder_.set_upstreams(std::move(upstreams)); }

 private:
  struct Client {
    UniqueFd socket;
    std::string in, out;
    EventLoop::TimerId timer = 0;
  };
  /// Who waits for an answer.
  struct Asker {
    std::shared_ptr<UniqueFd> udp;  // null: a client of TCP, which takes answers of any length
    SocketAddress address;
    std::uint64_t client = 0;
    std::shared_ptr<DnsForwarder::Reply> reply;  // somebody in this process
    bool stream() const { return !udp; }
  };

  void handle(std::string_view packet, const Asker& asker) {
    Result<DnsQuery> query = parse_query(packet);
    if (!query.ok()) return respond(asker, refusal(packet));
    std::optional<DnsAnswer> answer = zones_.answer(query.value().name, query.value().type);
    if (!answer) return forwarder_.forward(query.value(), std::string(packet), asker.stream(), later(asker));
    follow_alias({std::move(query).value(), asker, kMaxAliases}, std::move(*answer));
  }

  void respond(const Asker& asker, std::string answer) {
    if (asker.reply) return (*asker.reply)(std::move(answer));
    if (asker.stream()) return answer_client(asker.client, answer);
    if (answer.empty()) return;
    packets_.answer(asker.address, std::move(answer));
    if (!receiving_) packets_.send(*asker.udp);
  }
  DnsForwarder::Reply later(const Asker& asker) {
    return [self = weak_from_this(), asker](std::string answer) {
      if (auto serving = self.lock()) serving->respond(asker, std::move(answer));
    };
  }

  /// A client's question while its answer is put together.
  struct Asked {
    DnsQuery query;
    Asker asker;
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
    bool stream = asked.asker.stream();
    auto join = [self = weak_from_this(), asked = std::move(asked), answer = std::move(answer)](const std::string& got) {
      auto serving = self.lock();
      if (!serving) return;
      DnsAnswer joined = answer;
      joined.code = DnsCode{static_cast<std::uint8_t>(got[3] & 15)};
      for (DnsRecord& record : read_answers(got)) joined.answers.push_back(std::move(record));
      serving->finish(asked, joined);
    };
    forwarder_.forward(outside.value(), packet, stream, std::move(join));
  }

  void finish(const Asked& asked, const DnsAnswer& answer) {
    size_t limit = asked.asker.stream() ? kMaxPacket : std::min<size_t>(asked.query.payload_size, kMaxUdpAnswer);
    respond(asked.asker, encode_answer(asked.query, answer, limit));
  }

  void read_packets(const std::shared_ptr<UniqueFd>& udp) {
    receiving_ = true;
    size_t count = packets_.receive(*udp);
    for (size_t i = 0; i < count; ++i) handle(packets_.packet(i), {udp, packets_.client(i), 0, nullptr});
    receiving_ = false;
    packets_.send(*udp);
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
      handle(packet, {nullptr, {}, id, nullptr});
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
  Packets packets_;
  bool receiving_ = false;  // answers wait for each other
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

std::vector<Address> DnsServer::lookup(const std::string& name, Duration patience) {
  // Whoever answers late finds what he writes to still there.
  struct Answers {
    std::promise<std::vector<Address>> done;
    std::vector<Address> addresses;
    int missing = 2;
  };
  auto answers = std::make_shared<Answers>();
  auto take = [answers](const std::string& packet) {
    if (packet.size() >= 12)
      for (const DnsRecord& record : read_answers(packet))
        if (auto* address = std::get_if<Address>(&record.data)) answers->addresses.push_back(*address);
    if (--answers->missing == 0) answers->done.set_value(std::move(answers->addresses));
  };
  std::future<std::vector<Address>> done = answers->done.get_future();
  loop_->post([serving = serving_, name, take] {
    for (DnsType type : {DnsType::A, DnsType::Aaaa}) serving->ask(name, type, take);
  });
  if (done.wait_for(patience) != std::future_status::ready) return {};
  return done.get();
}

void DnsServer::remove_node(const std::string& id) {
  MutexLock lock(mutex_);
  if (nodes_.erase(id) > 0) loop_->post([serving = serving_, id] { serving->remove(id); });
}

}  // namespace skiff::net
