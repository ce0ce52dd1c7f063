// Port-forward: pairs of SPDY streams (error and data, matched by their request id), each pair one connection
// to a port of the pod; the SPDY bytes travel plain or inside binary WebSocket messages.

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <charconv>
#include <map>

#include "apiserver/remote.hpp"
#include "apiserver/spdy.hpp"
#include "apiserver/upgrade.hpp"
#include "apiserver/websocket.hpp"
#include "apiserver/wire.hpp"
#include "base/log.hpp"
#include "sys/files.hpp"

namespace skiff::apiserver {

namespace {

constexpr std::string_view kSpdyProtocols[] = {"portforward.k8s.io"};
constexpr std::string_view kTunnelProtocols[] = {"SPDY/3.1+portforward.k8s.io"};
constexpr size_t kMaxMessage = 1U << 20;
constexpr Duration kFarewell = 2s;

/// One forwarded connection.
struct Forward {
  SpdyStreamId data = 0;
  SpdyStreamId error = 0;
  std::uint16_t port = 0;
  UniqueFd socket;
  std::string to_pod;
  bool client_done = false;  // nothing more will come from the client
  bool pod_done = false;     // nor from the pod
};

std::string header_of(const SpdyHeaders& headers, std::string_view name) {
  auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second;
}

class PortForwardSession {
 public:
  PortForwardSession(Wire& wire, bool tunnel, const std::string& pod, const DialPort& dial)
      : wire_(wire), pod_(pod), dial_(dial) {
    if (tunnel) tunnel_.emplace(kMaxMessage);
  }

  void run();

 private:
  bool receive(std::string_view bytes);
  std::string& output();
  void take(SpdyEvent event);
  void open(const SpdyEvent& event);
  void connect(Forward& forward);
  void fail(Forward& forward, std::string_view why);
  void to_pod(Forward& forward);
  void from_pod(Forward& forward);
  void drop_finished();
  size_t backlog() const;

  Wire& wire_;
  const std::string& pod_;
  const DialPort& dial_;
  SpdySession spdy_;
  std::optional<WebSocketCodec> tunnel_;
  std::map<std::string, Forward> forwards_;  // by request id
};

bool PortForwardSession::receive(std::string_view bytes) {
  std::vector<SpdyEvent> events;
  bool alive = true;
  if (tunnel_) {
    std::vector<WebSocketMessage> messages;
    alive = tunnel_->receive(bytes, messages).ok() && !tunnel_->peer_closed();
    for (const WebSocketMessage& message : messages)
      alive = spdy_.receive(message.payload, events).ok() && alive;
  } else {
    alive = spdy_.receive(bytes, events).ok();
  }
  for (SpdyEvent& event : events) take(std::move(event));
  return alive && !spdy_.peer_gone();
}

std::string& PortForwardSession::output() {
  if (!tunnel_) return spdy_.output();
  if (!spdy_.output().empty()) {
    tunnel_->send(WebSocketOpcode::Binary, spdy_.output());
    spdy_.output().clear();
  }
  return tunnel_->output();
}

void PortForwardSession::take(SpdyEvent event) {
  if (event.kind == SpdyEvent::Kind::Opened) return open(event);
  for (auto& [id, forward] : forwards_) {
    if (forward.data != event.stream) continue;
    if (event.kind == SpdyEvent::Kind::Data) forward.to_pod.append(event.data);
    if (event.kind != SpdyEvent::Kind::Data) forward.client_done = true;
    if (event.kind == SpdyEvent::Kind::Reset) forward.pod_done = true;  // the client wants no more either
    return;
  }
}

void PortForwardSession::open(const SpdyEvent& event) {
  std::string type = header_of(event.headers, "streamtype");
  std::string text = header_of(event.headers, "port");
  std::uint16_t port = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), port);
  bool valid = failure == std::errc{} && end == text.data() + text.size() && port > 0;
  if (!valid || (type != "data" && type != "error")) return spdy_.reset(event.stream);
  // Clients before request ids existed open the error stream right before its data stream.
  std::string id = header_of(event.headers, "requestid");
  if (id.empty()) id = std::to_string(type == "error" ? event.stream : event.stream - 2);
  Forward& forward = forwards_[id];
  SpdyStreamId& stream = type == "data" ? forward.data : forward.error;
  if (stream != 0 || (forward.port != 0 && forward.port != port)) return spdy_.reset(event.stream);
  stream = event.stream;
  forward.port = port;
  spdy_.reply(event.stream);
  if (forward.data != 0 && forward.error != 0) connect(forward);
}

void PortForwardSession::connect(Forward& forward) {
  Result<UniqueFd> socket = dial_(forward.port);
  if (!socket.ok()) return fail(forward, socket.error().message());
  forward.socket = std::move(socket).value();
  ::fcntl(forward.socket.get(), F_SETFL, ::fcntl(forward.socket.get(), F_GETFL) | O_NONBLOCK);
}

void PortForwardSession::fail(Forward& forward, std::string_view why) {
  spdy_.send(forward.error, fmt::format("error forwarding port {} to pod {}: {}", forward.port, pod_, why));
  forward.client_done = true;
  forward.pod_done = true;
  forward.to_pod.clear();
}

void PortForwardSession::to_pod(Forward& forward) {
  while (!forward.to_pod.empty()) {
    ssize_t put = sys::retry_eintr([&] {
      return ::send(forward.socket.get(), forward.to_pod.data(), forward.to_pod.size(), MSG_NOSIGNAL);
    });
    if (put < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (put < 0) {
      forward.pod_done = forward.client_done = true;
      forward.to_pod.clear();
      return;
    }
    forward.to_pod.erase(0, static_cast<size_t>(put));
    spdy_.consumed(forward.data, static_cast<size_t>(put));
  }
  if (forward.client_done) ::shutdown(forward.socket.get(), SHUT_WR);
}

void PortForwardSession::from_pod(Forward& forward) {
  std::array<char, 32U << 10> buffer;
  ssize_t got =
      sys::retry_eintr([&] { return ::recv(forward.socket.get(), buffer.data(), buffer.size(), 0); });
  if (got > 0) return spdy_.send(forward.data, {buffer.data(), static_cast<size_t>(got)});
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
  forward.pod_done = true;
  spdy_.finish(forward.data);
}

// Kubernetes ends a pair when the pod has closed, or when both sides have.
void PortForwardSession::drop_finished() {
  for (auto entry = forwards_.begin(); entry != forwards_.end();) {
    Forward& forward = entry->second;
    if (!forward.pod_done || (forward.socket && !forward.to_pod.empty())) {
      ++entry;
      continue;
    }
    spdy_.finish(forward.data);
    spdy_.finish(forward.error);
    entry = forwards_.erase(entry);
  }
}

size_t PortForwardSession::backlog() const {
  size_t total = 0;
  for (const auto& [id, forward] : forwards_) total += forward.to_pod.size();
  return total;
}

void PortForwardSession::run() {
  bool alive = true;
  while (alive) {
    bool room = output().size() + spdy_.waiting() < kSessionBuffer;
    std::vector<pollfd> others;
    std::vector<Forward*> polled;
    for (auto& [id, forward] : forwards_) {
      if (!forward.socket) continue;
      short interest = 0;
      if (room && !forward.pod_done) interest |= POLLIN;
      if (!forward.to_pod.empty()) interest |= POLLOUT;
      others.push_back({interest == 0 ? -1 : forward.socket.get(), interest, 0});
      polled.push_back(&forward);
    }
    Wire::Round round = wire_.wait(others, output(), backlog() < kSessionBuffer);
    for (size_t i = 0; i < polled.size(); ++i)
      if ((others[i].revents & ~POLLOUT) != 0) from_pod(*polled[i]);
    alive = receive(round.received) && !round.closed && !round.stopped;
    for (auto& [id, forward] : forwards_)
      if (forward.socket && (!forward.to_pod.empty() || forward.client_done)) to_pod(forward);
    drop_finished();
  }
  spdy_.go_away();
  std::string& last = output();
  if (tunnel_) tunnel_->close(1000, "");
  wire_.finish(last, kFarewell);
}

}  // namespace

Response port_forward(const Request& request, std::string pod, DialPort dial) {
  Result<UpgradeChoice> choice = choose_upgrade(request, kTunnelProtocols, kSpdyProtocols);
  if (!choice.ok()) return upgrade_refusal(choice.error());
  UpgradeReply reply;
  reply.headers = choice.value().headers;
  reply.run = [tunnel = choice.value().websocket, pod = std::move(pod), dial = std::move(dial)](
                  Connection& connection, std::string early, std::stop_token stop) {
    Result<std::unique_ptr<Wire>> wire = Wire::create(connection, std::move(early), std::move(stop));
    if (!wire.ok()) return log::warning("apiserver", "port-forward: {}", wire.error().message());
    PortForwardSession(*wire.value(), tunnel, pod, dial).run();
  };
  return reply;
}

}  // namespace skiff::apiserver
