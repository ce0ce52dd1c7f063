#pragma once
// One client of the HTTP proxy: its requests one after another, each with a connection to a server behind.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/event_loop.hpp"
#include "base/random.hpp"
#include "net/http_body.hpp"
#include "net/http_mirror.hpp"
#include "net/http_rewrite.hpp"
#include "net/http_upstreams.hpp"

namespace skiff::net {

/// How long clients may take, and how many there may be.
struct HttpLimits {
  Duration head_patience = 15s;  // from a head's first byte to its last
  Duration idle_patience = 75s;
  size_t connections = 16384;  // beyond them idle ones end, or new ones
};

/// What all connections of a proxy share.
struct HttpShared {
  EventLoop& loop;
  HttpUpstreams& upstreams;
  Random& random;
  HttpLimits limits;
  std::shared_ptr<const HttpRoutes> routes{};  // replaced at any time; null before the first
  /// Goes on with a client that turned out to speak HTTP/2, of which these bytes were read.
  std::function<void(std::unique_ptr<Channel> client, std::string received, const HttpClientFacts& facts)> serve_http2{};
  /// Makes a connected socket speak HTTP/2: what is returned takes one request of HTTP/1 and gives its answer.
  std::function<Result<UniqueFd>(UniqueFd server)> speak_http2{};
};

/// Lives on the loop's thread. `on_end` is called once, and may destroy the connection.
class HttpConnection {
 public:
  HttpConnection(HttpShared& shared, std::unique_ptr<Channel> client, HttpClientFacts facts,
                 std::function<void()> on_end);
  ~HttpConnection();
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  Status start();
  /// Waits for its next request, so it can be ended without harm.
  bool idle() const { return phase_ == Phase::Head && client_in_.empty() && client_out_.empty(); }

 private:
  enum class Phase : std::uint8_t { Head, Connecting, Exchange, Tunnel, Draining };

  void on_client(std::uint32_t events);
  void on_server(std::uint32_t events);
  void on_deadline();
  /// Moves what can be moved, then waits for more.
  void pump();
  bool advance();

  bool read_client();
  bool write_client();
  bool read_server();
  bool write_server();
  void server_lost();

  bool take_head();
  bool speaks_http2();
  void decide();
  void answer(const HttpAnswer& what, bool keep_alive);
  void refuse(int status) { answer({.status = status, .headers = {}, .body = ""}, false); }

  void connect_next();
  void begin_on(UniqueFd socket, bool connected);
  void server_reached();
  void open_mirrors();
  void to_server(std::string_view bytes);
  bool replayable() const;
  bool pass_request_body();
  bool take_answer();
  bool take_answer_head();
  bool pass_answer_body();
  void finish_exchange();
  void close_server();
  bool tunnel();
  void drain();

  bool wait_for_more();
  bool watch_client();
  bool watch_server();
  void allow(Duration patience);
  void arm_timer();
  void end();

  HttpShared& shared_;
  std::unique_ptr<Channel> client_;
  const HttpClientFacts facts_;
  std::function<void()> on_end_;
  Phase phase_ = Phase::Head;
  bool ended_ = false;

  std::string client_in_, client_out_;  // bytes as they come and go, both sides
  std::string server_in_, server_out_;
  bool client_readable_ = false, client_blocked_ = false, client_at_end_ = false;
  bool server_readable_ = false, server_blocked_ = false, server_at_end_ = false;
  bool client_told_end_ = false, server_told_end_ = false;  // of a tunnel
  std::uint32_t client_watched_ = 0, server_watched_ = 0;

  HttpRequestHead request_;
  HttpForward forward_;
  HttpBodyReader request_body_{{}};
  bool first_request_ = true;
  bool request_sent_ = true;  // with all of its body
  bool keep_alive_ = true;
  std::vector<std::shared_ptr<HttpMirror>> mirrors_;
  UniqueFd server_;
  Endpoint server_address_;
  bool server_reached_ = false;  // the connection stands
  size_t tries_ = 0;
  std::uint32_t first_ = 0;  // whose turn it was
  int failure_ = 502;        // what to say when no server can be reached
  std::optional<HttpResponseHead> answer_;
  HttpBodyReader answer_body_{{}};
  HttpDelivery delivery_ = HttpDelivery::AsIs;

  TimePoint deadline_ = TimePoint::max(), timer_at_ = TimePoint::max();
  EventLoop::TimerId timer_ = 0;
};

}  // namespace skiff::net
