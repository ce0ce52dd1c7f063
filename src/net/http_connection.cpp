// Two byte streams and a state. Every event sets a flag and calls pump(), which moves bytes until nothing
// moves: there is one place where things happen in order, whatever order they were heard of. A side is read
// only while the other side's buffer has room, so a slow reader slows the writer, not the memory.
#include "net/http_connection.hpp"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>

#include "net/http2_connection.hpp"
#include "net/sockets.hpp"

namespace skiff::net {
namespace {

constexpr size_t kBuffer = 256 << 10;  // of a direction
constexpr size_t kChunk = 64 << 10;
constexpr size_t kMaxTries = 8;
constexpr Duration kBodyPatience = 60s;  // between two pieces
constexpr Duration kTunnelPatience = 1h;
constexpr Duration kDrainPatience = 2s;

bool is_idempotent(const std::string& method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "PUT" ||
         method == "DELETE" || method == "TRACE";
}

}  // namespace

HttpConnection::HttpConnection(HttpShared& shared, std::unique_ptr<Channel> client, HttpClientFacts facts,
                               std::function<void()> on_end)
    : shared_(shared), client_(std::move(client)), facts_(std::move(facts)), on_end_(std::move(on_end)) {}

HttpConnection::~HttpConnection() {
  if (client_ && client_watched_ != 0) shared_.loop.unwatch(client_->fd());
  close_server();
  if (timer_ != 0) shared_.loop.cancel(timer_);
}

Status HttpConnection::start() {
  allow(shared_.limits.head_patience);
  arm_timer();
  client_watched_ = EPOLLIN;
  return shared_.loop.watch(client_->fd(), EPOLLIN, [this](std::uint32_t events) { on_client(events); });
}

void HttpConnection::on_client(std::uint32_t events) {
  if ((events & (EPOLLIN | EPOLLRDHUP)) != 0) client_readable_ = true;
  if ((events & EPOLLOUT) != 0) {
    client_blocked_ = false;
    if (client_->wants_write()) client_readable_ = true;  // a handshake goes on by reading
  }
  // Both directions are gone: what is still unread can be asked for by nobody.
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) ended_ = true;
  pump();
}

void HttpConnection::on_server(std::uint32_t events) {
  if (phase_ == Phase::Connecting) {
    if (pending_error(server_) != 0) {
      failure_ = 502;
      connect_next();
      return pump();
    }
    server_reached();
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0) server_readable_ = true;
  if ((events & EPOLLOUT) != 0) server_blocked_ = false;
  pump();
}

void HttpConnection::server_reached() {
  server_reached_ = true;
  phase_ = Phase::Exchange;
  allow(forward_.answer_timeout);
  if (!forward_.backends->http2) return;
  shared_.loop.unwatch(server_.get());
  server_watched_ = 0;
  Result<UniqueFd> translated = shared_.speak_http2(std::move(server_));
  if (!translated.ok()) return refuse(502);
  server_ = std::move(translated).value();
}

void HttpConnection::pump() {
  while (!ended_ && advance()) {
  }
  if (!ended_ && !wait_for_more()) ended_ = true;
  if (ended_) return end();
  arm_timer();
}

void HttpConnection::end() {
  std::function<void()> on_end = std::move(on_end_);
  on_end();  // this object is gone after it
}

bool HttpConnection::advance() {
  bool moved = read_client();
  switch (phase_) {
    case Phase::Head:
      moved = take_head() || moved;
      break;
    case Phase::Connecting:
      break;
    case Phase::Exchange:
      moved = pass_request_body() || moved;
      if (phase_ == Phase::Exchange) moved = write_server() || moved;
      if (phase_ == Phase::Exchange) moved = read_server() || moved;
      if (phase_ == Phase::Exchange) moved = take_answer() || moved;
      break;
    case Phase::Tunnel:
      moved = tunnel() || moved;
      break;
    case Phase::Draining:
      drain();
      break;
  }
  return !ended_ && (write_client() || moved);
}

bool HttpConnection::read_client() {
  bool room = phase_ == Phase::Head ? client_in_.size() <= kMaxHttpHead : client_in_.size() < kBuffer;
  if (!client_readable_ || client_at_end_ || !room) return false;
  char buffer[kChunk];
  std::ptrdiff_t size = client_->read(buffer, sizeof buffer);
  if (size == Channel::kAgain) {
    client_readable_ = false;
    return false;
  }
  if (size == Channel::kBroken) ended_ = true;
  if (size <= 0) {
    client_at_end_ = true;
    return true;
  }
  if (phase_ == Phase::Head && client_in_.empty()) allow(shared_.limits.head_patience);
  if (phase_ == Phase::Exchange) allow(std::max(kBodyPatience, forward_.answer_timeout));
  if (phase_ == Phase::Tunnel) allow(kTunnelPatience);
  if (phase_ != Phase::Draining) client_in_.append(buffer, static_cast<size_t>(size));
  if (static_cast<size_t>(size) < sizeof buffer && !client_->has_pending()) client_readable_ = false;
  return true;
}

bool HttpConnection::write_client() {
  if (client_out_.empty() || client_blocked_) return false;
  std::ptrdiff_t size = client_->write(client_out_.data(), client_out_.size());
  if (size == Channel::kAgain) {
    client_blocked_ = true;
    return false;
  }
  if (size <= 0) {
    ended_ = true;
    return false;
  }
  if (phase_ == Phase::Exchange) allow(std::max(kBodyPatience, forward_.answer_timeout));
  client_out_.erase(0, static_cast<size_t>(size));
  return true;
}

bool HttpConnection::read_server() {
  if (!server_readable_ || server_at_end_ || client_out_.size() >= kBuffer || server_in_.size() >= kBuffer)
    return false;
  char buffer[kChunk];
  ssize_t size = ::recv(server_.get(), buffer, sizeof buffer, 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
    server_readable_ = false;
    return false;
  }
  if (size <= 0) {
    server_at_end_ = true;
    return true;
  }
  allow(phase_ == Phase::Tunnel ? kTunnelPatience : forward_.answer_timeout);
  server_in_.append(buffer, static_cast<size_t>(size));
  if (static_cast<size_t>(size) < sizeof buffer) server_readable_ = false;
  return true;
}

bool HttpConnection::write_server() {
  if (server_out_.empty() || server_blocked_) return false;
  ssize_t size = ::send(server_.get(), server_out_.data(), server_out_.size(), MSG_NOSIGNAL);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
    server_blocked_ = true;
    return false;
  }
  if (size < 0) {
    // It takes no more; it may have answered before, so what it said is read first.
    server_out_.clear();
    server_readable_ = true;
    return true;
  }
  server_out_.erase(0, static_cast<size_t>(size));
  return true;
}

bool HttpConnection::take_head() {
  if (!client_out_.empty()) return false;  // the answer before goes first
  if (client_in_.empty() && client_at_end_) ended_ = true;
  if (client_in_.empty()) return false;
  if (first_request_ && kHttp2Preface.starts_with(std::string_view(client_in_).substr(0, kHttp2Preface.size())))
    return speaks_http2();
  HttpParsed<HttpRequestHead> parsed = parse_request_head(client_in_);
  if (parsed.incomplete()) {
    if (client_at_end_) ended_ = true;
    return false;
  }
  if (parsed.refusal) {
    request_ = {};
    refuse(parsed.refusal->status);
    return true;
  }
  first_request_ = false;
  client_in_.erase(0, parsed.used);
  request_ = std::move(*parsed.head);
  request_body_ = HttpBodyReader(request_.body);
  keep_alive_ = request_.keep_alive;
  decide();
  return true;
}

/// The client goes on as somebody else's once its preface is whole.
bool HttpConnection::speaks_http2() {
  if (client_at_end_) ended_ = true;
  if (client_in_.size() < kHttp2Preface.size() || !shared_.serve_http2) return false;
  shared_.loop.unwatch(client_->fd());
  client_watched_ = 0;
  ended_ = true;
  shared_.serve_http2(std::move(client_), std::move(client_in_), facts_);
  return false;
}

void HttpConnection::decide() {
  std::optional<std::string> path = normal_path(request_.target);
  if (!path) return refuse(400);
  size_t mark = request_.target.find('?');
  std::string_view query =
      mark == std::string::npos ? std::string_view() : std::string_view(request_.target).substr(mark + 1);
  if (!shared_.routes) return refuse(503);
  HttpDecision decision = shared_.routes->decide({request_, *path, query, facts_.tls, facts_.listener});
  // The body of a request that is not passed on is not worth its bytes: the connection ends instead.
  if (HttpAnswer* own = std::get_if<HttpAnswer>(&decision))
    return answer(*own, keep_alive_ && request_body_.done());
  forward_ = std::get<HttpForward>(std::move(decision));
  if (forward_.max_body != 0 && request_.body.length > forward_.max_body) return refuse(413);
  if (!forward_.backends || forward_.backends->endpoints.empty())
    return answer({.status = 503, .headers = {}, .body = ""}, keep_alive_ && request_body_.done());
  if (request_.expects_continue && !request_body_.done()) client_out_ += "HTTP/1.1 100 Continue\r\n\r\n";
  first_ = forward_.backends->turn.fetch_add(1, std::memory_order_relaxed);
  tries_ = 0;
  failure_ = 502;
  connect_next();
}

void HttpConnection::answer(const HttpAnswer& what, bool keep_alive) {
  bool begun = answer_.has_value();  // then the client has half of another answer
  close_server();
  const HttpRequestHead* head = request_.method.empty() ? nullptr : &request_;
  if (!begun) client_out_ += own_answer(head, what, keep_alive);
  answer_.reset();
  phase_ = keep_alive && !begun ? Phase::Head : Phase::Draining;
  allow(phase_ == Phase::Head ? shared_.limits.idle_patience : kBodyPatience);
}

void HttpConnection::connect_next() {
  close_server();
  const std::vector<Endpoint>& servers = forward_.backends->endpoints;
  // A connection that waits is used first, by requests that can be sent again if it turns out to be gone;
  // then only new ones: the others that wait may be gone as well.
  bool waiting_first =
      tries_ == 0 && is_idempotent(request_.method) && request_body_.done() && request_.upgrade.empty() &&
      !forward_.backends->http2;
  while (tries_ < std::min(kMaxTries, servers.size() + 1)) {
    server_address_ = servers[(first_ + tries_) % servers.size()];
    ++tries_;
    UniqueFd waiting =
        std::exchange(waiting_first, false) ? shared_.upstreams.take(server_address_) : UniqueFd();
    if (waiting) return begin_on(std::move(waiting), true);
    Result<UniqueFd> socket = open_socket(Protocol::Tcp, server_address_.address.family);
    if (socket.ok() && connect_socket(socket.value(), server_address_).ok())
      return begin_on(std::move(socket).value(), false);
  }
  refuse(failure_);
}

void HttpConnection::begin_on(UniqueFd socket, bool connected) {
  server_ = std::move(socket);
  server_reached_ = connected;
  server_readable_ = server_blocked_ = server_at_end_ = false;
  server_watched_ = connected ? ~0U : 0;  // a waiting one is watched by others still
  server_in_.clear();
  server_out_ =
      forwarded_request(request_, forward_, facts_,
                        fmt::format("{:016x}{:016x}", shared_.random.next(), shared_.random.next()));
  request_sent_ = request_body_.done();
  if (tries_ == 1) open_mirrors();  // once a request
  answer_.reset();
  phase_ = connected ? Phase::Exchange : Phase::Connecting;
  allow(connected ? forward_.answer_timeout : forward_.connect_timeout);
}

/// Whether the request may be sent to another server: none has begun to answer, and none can have acted on
/// it.
bool HttpConnection::replayable() const {
  if (answer_ || !server_in_.empty() || request_body_.size() > 0) return false;
  return !server_reached_ || (is_idempotent(request_.method) && request_body_.done());
}

void HttpConnection::server_lost() {
  failure_ = 502;
  if (replayable()) return connect_next();
  refuse(502);
}

void HttpConnection::open_mirrors() {
  mirrors_.clear();
  for (const auto& backends : forward_.mirrors)
    if (backends && !backends->endpoints.empty()) {
      std::uint32_t turn = backends->turn.fetch_add(1, std::memory_order_relaxed);
      mirrors_.push_back(HttpMirror::open(shared_.loop, backends->endpoints[turn % backends->endpoints.size()]));
      if (mirrors_.back()) mirrors_.back()->send(server_out_);
    }
}

void HttpConnection::to_server(std::string_view bytes) {
  server_out_ += bytes;
  for (const auto& mirror : mirrors_)
    if (mirror) mirror->send(bytes);
}

bool HttpConnection::pass_request_body() {
  if (request_sent_ || server_out_.size() >= kBuffer) return false;
  std::string data;
  request_body_.take(client_in_, data);
  if (forward_.max_body != 0 && request_body_.size() > forward_.max_body) {
    refuse(413);
    return true;
  }
  bool cut_off = client_at_end_ && client_in_.empty() && !request_body_.done();
  if (request_body_.broken() || cut_off) {
    refuse(400);
    return true;
  }
  bool chunked = request_.body.kind == HttpFraming::Kind::Chunked, progress = !data.empty();
  if (chunked) {
    std::string framed;
    append_chunk(framed, data);
    if (request_body_.done()) framed += kLastChunk;
    data.swap(framed);
  }
  to_server(data);
  request_sent_ = request_body_.done();
  return progress || request_sent_;
}

bool HttpConnection::take_answer() {
  if (!answer_ && !take_answer_head()) return false;
  return phase_ != Phase::Exchange || pass_answer_body();
}

bool HttpConnection::take_answer_head() {
  HttpParsed<HttpResponseHead> parsed = parse_response_head(server_in_, request_.method == "HEAD");
  if (parsed.incomplete()) {
    if (!server_at_end_) return false;
    server_lost();
    return true;
  }
  if (parsed.refusal) {
    answer_.reset();
    refuse(502);
    return true;
  }
  server_in_.erase(0, parsed.used);
  if (parsed.head->status == 101 && !request_.upgrade.empty()) {
    client_out_ += forwarded_answer(request_, *parsed.head, forward_.response, true);
    phase_ = Phase::Tunnel;
    allow(kTunnelPatience);
    return true;
  }
  if (parsed.head->status < 200) return true;  // "continue" was said already; others nobody needs
  answer_ = std::move(parsed.head);
  answer_body_ = HttpBodyReader(answer_->body);
  delivery_ = delivery_of(request_, *answer_);
  keep_alive_ = keep_alive_ && delivery_ != HttpDelivery::UntilClose && request_sent_;
  client_out_ += forwarded_answer(request_, *answer_, forward_.response, keep_alive_);
  return true;
}

bool HttpConnection::pass_answer_body() {
  if (!answer_) return true;  // an interim answer was taken
  std::string data;
  if (client_out_.size() < kBuffer) answer_body_.take(server_in_, data);
  if (server_at_end_ && server_in_.empty()) answer_body_.end();
  if (delivery_ == HttpDelivery::Chunked)
    append_chunk(client_out_, data);
  else
    client_out_ += data;
  // Half an answer has no other end than this, so that nobody takes it for a whole one.
  if (answer_body_.broken()) ended_ = true;
  if (!answer_body_.done()) return !data.empty();
  // Only who says so expects anything after a body.
  bool trailers = has_token(request_.headers, "te", "trailers");
  if (delivery_ == HttpDelivery::Chunked)
    client_out_ += trailers ? last_chunk(answer_body_.trailers()) : std::string(kLastChunk);
  finish_exchange();
  return true;
}

void HttpConnection::finish_exchange() {
  bool reusable = answer_->keep_alive && answer_->body.kind != HttpFraming::Kind::UntilClose &&
                  request_sent_ && server_out_.empty() && server_in_.empty() && !server_at_end_ &&
                  !forward_.backends->http2;
  if (reusable) {
    server_watched_ = 0;
    shared_.upstreams.give(server_address_, std::move(server_));
  }
  close_server();
  mirrors_.clear();
  answer_.reset();
  phase_ = keep_alive_ ? Phase::Head : Phase::Draining;
  allow(shared_.limits.idle_patience);
}

void HttpConnection::close_server() {
  if (server_ && server_watched_ != 0) shared_.loop.unwatch(server_.get());
  server_watched_ = 0;
  server_.reset();
  server_in_.clear();
  server_out_.clear();
}

bool HttpConnection::tunnel() {
  bool moved = false;
  if (server_out_.empty() && !client_in_.empty()) {
    server_out_.swap(client_in_);
    moved = true;
  }
  moved = write_server() || moved;
  moved = read_server() || moved;
  if (client_out_.empty() && !server_in_.empty()) {
    client_out_.swap(server_in_);
    moved = true;
  }
  if (client_at_end_ && client_in_.empty() && server_out_.empty() && !server_told_end_) {
    ::shutdown(server_.get(), SHUT_WR);
    server_told_end_ = true;
  }
  if (server_at_end_ && server_in_.empty() && client_out_.empty() && !client_told_end_) {
    client_->shut_down();
    client_told_end_ = true;
  }
  if (client_told_end_ && server_told_end_) ended_ = true;
  return moved;
}

/// Says goodbye and reads on for a moment: a socket closed with bytes unread would take back what was sent.
void HttpConnection::drain() {
  client_in_.clear();
  if (!client_out_.empty()) return;
  if (!client_told_end_) {
    client_->shut_down();
    client_told_end_ = true;
    allow(kDrainPatience);
  }
  if (client_at_end_) ended_ = true;
}

bool HttpConnection::wait_for_more() { return watch_client() && (!server_ || watch_server()); }

bool HttpConnection::watch_client() {
  size_t limit = phase_ == Phase::Head ? kMaxHttpHead + 1 : kBuffer;
  // While an answer is awaited, the next request stays in the socket, but not the news that the client left.
  bool reading = !client_at_end_ && client_in_.size() < limit;
  bool writing = (client_blocked_ && !client_out_.empty()) || client_->wants_write();
  std::uint32_t events = (reading ? std::uint32_t{EPOLLIN} : 0U) | (writing ? std::uint32_t{EPOLLOUT} : 0U);
  if (events == client_watched_) return true;
  client_watched_ = events;
  if (events == 0) {
    // With a server to wait for. EPOLLHUP would come without being asked for, again and again.
    shared_.loop.unwatch(client_->fd());
    return true;
  }
  return shared_.loop.watch(client_->fd(), events, [this](std::uint32_t e) { on_client(e); }).ok();
}

bool HttpConnection::watch_server() {
  bool connecting = phase_ == Phase::Connecting;
  bool reading =
      !connecting && !server_at_end_ && server_in_.size() < kBuffer && client_out_.size() < kBuffer;
  bool writing = connecting || (server_blocked_ && !server_out_.empty());
  std::uint32_t events = (reading ? std::uint32_t{EPOLLIN} : 0U) | (writing ? std::uint32_t{EPOLLOUT} : 0U);
  if (events == server_watched_) return true;
  if (events == 0) shared_.loop.unwatch(server_.get());
  bool done = events == 0 ||
              shared_.loop.watch(server_.get(), events, [this](std::uint32_t e) { on_server(e); }).ok();
  server_watched_ = events;
  return done;
}

void HttpConnection::allow(Duration patience) { deadline_ = std::chrono::steady_clock::now() + patience; }

/// The timer is set again only when it is too late for the deadline: most deadlines move on before it.
void HttpConnection::arm_timer() {
  if (timer_ != 0 && timer_at_ <= deadline_) return;
  if (timer_ != 0) shared_.loop.cancel(timer_);
  timer_at_ = deadline_;
  timer_ = shared_.loop.after(deadline_ - std::chrono::steady_clock::now(), [this] {
    timer_ = 0;
    on_deadline();
  });
}

void HttpConnection::on_deadline() {
  if (std::chrono::steady_clock::now() < deadline_) return arm_timer();
  switch (phase_) {
    case Phase::Head:
      if (client_in_.empty())
        ended_ = true;
      else
        request_ = {}, refuse(408);
      break;
    case Phase::Connecting:
      failure_ = 504;
      connect_next();
      break;
    case Phase::Exchange:
      if (!request_sent_ || answer_)
        ended_ = true;
      else
        refuse(504);
      break;
    case Phase::Tunnel:
    case Phase::Draining:
      ended_ = true;
      break;
  }
  pump();
}

}  // namespace skiff::net
