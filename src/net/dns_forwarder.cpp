#include "net/dns_forwarder.hpp"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "net/sockets.hpp"
#include "sys/files.hpp"

namespace skiff::net {
namespace {

constexpr size_t kMaxExchanges = 512;
constexpr size_t kCachedAnswers = 4096;
constexpr int kRounds = 2;
constexpr Duration kPatience = 1500ms;  // per try
constexpr size_t kMaxPacket = 65535;

std::string framed(const std::string& packet) {
  std::string out{static_cast<char>(packet.size() >> 8), static_cast<char>(packet.size() & 255)};
  return out + packet;
}

}  // namespace

struct DnsForwarder::Exchange {
  std::uint64_t id = 0;
  DnsQuery query;
  std::string packet;
  bool stream = false;
  Reply reply;
  std::vector<Endpoint> servers;
  size_t tries = 0;
  UniqueFd socket;
  EventLoop::TimerId timer = 0;
  std::string sending, received;  // of a stream
};

std::string server_failure(const DnsQuery& query) {
  return encode_answer(query, {.code = DnsCode::ServerFailure, .authoritative = false}, 512);
}

DnsForwarder::DnsForwarder(EventLoop& loop, std::string resolv_conf, std::set<Address> self)
    : loop_(loop), resolvers_(std::move(resolv_conf)), self_(std::move(self)), cache_(kCachedAnswers) {}

DnsForwarder::~DnsForwarder() {
  for (auto& [id, exchange] : exchanges_) release_socket(*exchange);
}

void DnsForwarder::set_upstreams(DnsUpstreams upstreams) {
  upstreams_ = std::move(upstreams);
  cache_ = DnsCache(kCachedAnswers);
}

std::vector<Endpoint> DnsForwarder::servers_for(const std::string& name) {
  for (std::string_view zone = name; !zone.empty();) {
    if (auto found = upstreams_.zones.find(std::string(zone)); found != upstreams_.zones.end())
      return found->second;
    size_t dot = zone.find('.');
    zone = dot == std::string_view::npos ? std::string_view() : zone.substr(dot + 1);
  }
  if (!upstreams_.others.empty()) return upstreams_.others;
  std::vector<Endpoint> servers;
  for (Address server : resolvers_.current())
    if (!self_.contains(server)) servers.push_back({server, 53});
  return servers;
}

void DnsForwarder::forward(const DnsQuery& query, const std::string& packet, bool stream, Reply reply) {
  if (std::optional<std::string> kept = cache_.find(query, std::chrono::steady_clock::now()))
    return reply(*kept);
  if (exchanges_.size() >= kMaxExchanges) return reply(server_failure(query));
  auto exchange = std::make_unique<Exchange>();
  exchange->id = ++next_id_;
  exchange->query = query;
  exchange->packet = packet;
  exchange->stream = stream;
  exchange->reply = std::move(reply);
  exchange->servers = servers_for(query.name);
  std::uint64_t id = exchange->id;
  exchanges_[id] = std::move(exchange);
  ask_next(id);
}

Status DnsForwarder::open_exchange(Exchange& exchange, Endpoint server) {
  TRY_ASSIGN(exchange.socket, open_socket(exchange.stream ? Protocol::Tcp : Protocol::Udp, server.address.family));
  TRY(connect_socket(exchange.socket, server));
  std::uint64_t id = exchange.id;
  exchange.received.clear();
  if (exchange.stream) {
    exchange.sending = framed(exchange.packet);
    return loop_.watch(exchange.socket.get(), EPOLLIN | EPOLLOUT,
                       [this, id](std::uint32_t events) { on_stream(id, events); });
  }
  TRY(loop_.watch(exchange.socket.get(), EPOLLIN, [this, id](std::uint32_t) { on_readable(id); }));
  if (::send(exchange.socket.get(), exchange.packet.data(), exchange.packet.size(), MSG_NOSIGNAL) < 0)
    return errno_error(errno, "send to {}", server.str());
  return ok();
}

void DnsForwarder::release_socket(Exchange& exchange) {
  if (exchange.socket) loop_.unwatch(exchange.socket.get());
  exchange.socket.reset();
  if (exchange.timer != 0) loop_.cancel(exchange.timer);
  exchange.timer = 0;
}

void DnsForwarder::ask_next(std::uint64_t id) {
  Exchange& exchange = *exchanges_.at(id);
  while (exchange.tries < exchange.servers.size() * kRounds) {
    release_socket(exchange);
    Endpoint server = exchange.servers[exchange.tries++ % exchange.servers.size()];
    if (!open_exchange(exchange, server).ok()) continue;
    exchange.timer = loop_.after(kPatience, [this, id] {
      exchanges_.at(id)->timer = 0;
      ask_next(id);
    });
    return;
  }
  finish(id, server_failure(exchange.query));
}

void DnsForwarder::on_readable(std::uint64_t id) {
  Exchange& exchange = *exchanges_.at(id);
  std::string packet(kMaxPacket, '\0');
  ssize_t size = ::recv(exchange.socket.get(), packet.data(), packet.size(), 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size < 0) return ask_next(id);  // refused: nobody is there
  packet.resize(static_cast<size_t>(size));
  take_answer(id, std::move(packet));
}

void DnsForwarder::on_stream(std::uint64_t id, std::uint32_t events) {
  Exchange& exchange = *exchanges_.at(id);
  if ((events & EPOLLOUT) != 0 && !exchange.sending.empty()) {
    ssize_t sent =
        ::send(exchange.socket.get(), exchange.sending.data(), exchange.sending.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return ask_next(id);
    if (sent > 0) exchange.sending.erase(0, static_cast<size_t>(sent));
    auto again = [this, id](std::uint32_t next) { on_stream(id, next); };
    if (exchange.sending.empty() && !loop_.watch(exchange.socket.get(), EPOLLIN, again).ok())
      return ask_next(id);
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
  char buffer[4096];
  ssize_t size = ::recv(exchange.socket.get(), buffer, sizeof buffer, 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) return ask_next(id);
  exchange.received.append(buffer, static_cast<size_t>(size));
  const std::string& in = exchange.received;
  if (in.size() < 2) return;
  size_t length =
      static_cast<size_t>(static_cast<unsigned char>(in[0])) << 8 | static_cast<unsigned char>(in[1]);
  if (in.size() >= length + 2) take_answer(id, in.substr(2, length));
}

void DnsForwarder::take_answer(std::uint64_t id, std::string packet) {
  Exchange& exchange = *exchanges_.at(id);
  Result<DnsResponseFacts> facts = examine_response(exchange.query, packet);
  if (!facts.ok()) {
    // A packet that does not match may be forged: the true answer may still come. A stream has only one.
    if (exchange.stream) ask_next(id);
    return;
  }
  bool last = exchange.tries >= exchange.servers.size() * kRounds;
  if (facts.value().code == DnsCode::ServerFailure && !last) return ask_next(id);
  cache_.add(exchange.query, facts.value(), packet, std::chrono::steady_clock::now());
  finish(id, std::move(packet));
}

void DnsForwarder::finish(std::uint64_t id, std::string packet) {
  std::unique_ptr<Exchange> exchange = std::move(exchanges_.at(id));
  exchanges_.erase(id);
  release_socket(*exchange);
  exchange->reply(std::move(packet));
}

}  // namespace skiff::net
