#pragma once
// HTTP/2 at the edges of the proxy: one connection whose streams are HTTP/1 messages to the rest of it. Each stream has
// a socket pair; what is written at the other end is sent as frames, and frames that come are read there.

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/event_loop.hpp"
#include "base/fd.hpp"
#include "net/http_body.hpp"
#include "net/tls.hpp"

struct nghttp2_session;

namespace skiff::net {

inline constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Lives on the loop's thread. `on_end` is called once, and may destroy the connection.
class Http2Connection {
 public:
  /// Takes the other end of a stream that a client opened; a request can be read from it.
  using OnStream = std::function<void(UniqueFd)>;

  /// The server's side: clients open streams.
  Http2Connection(EventLoop& loop, std::unique_ptr<Channel> client, OnStream on_stream, std::function<void()> on_end);
  /// The client's side, for one request.
  Http2Connection(EventLoop& loop, std::unique_ptr<Channel> server, std::function<void()> on_end);
  ~Http2Connection();
  Http2Connection(const Http2Connection&) = delete;
  Http2Connection& operator=(const Http2Connection&) = delete;

  /// `received`: bytes that were read from the channel already.
  Status start(std::string_view received);
  /// On the client's side, once: the end to write the request to and read the answer from.
  Result<UniqueFd> open_stream();

 private:
  struct Stream;
  struct Callbacks;  // what nghttp2 calls
  enum class Role : std::uint8_t { Server, Client };

  Http2Connection(EventLoop& loop, Role role, std::unique_ptr<Channel> peer, OnStream on_stream,
                  std::function<void()> on_end);
  Result<std::unique_ptr<Stream>> make_stream(UniqueFd& other_end);
  void on_peer(std::uint32_t events);
  void on_pipe(std::int32_t id, std::uint32_t events);
  void pump();
  bool read_peer();
  bool feed(const char* data, size_t size);
  bool write_peer();
  bool watch_peer();

  void begin_message(std::int32_t id);
  void take_header(std::int32_t id, std::string_view name, std::string_view value);
  void take_head(std::int32_t id, bool ends);
  void open_pipe(std::int32_t id, Stream& stream, bool ends);
  void take_data(std::int32_t id, std::string_view data);
  void finish_message(Stream& stream);
  void flush_pipe(Stream& stream);
  void read_pipe(Stream& stream);
  void send_message(Stream& stream);
  bool send_head(Stream& stream);
  void watch_pipe(Stream& stream);
  void watch_pipes();
  void drop(std::int32_t id);
  void forget(std::int32_t id);
  void refuse(std::int32_t id);
  void rest();  // nothing is under way: how long that may last

  EventLoop& loop_;
  const Role role_;
  std::unique_ptr<Channel> peer_;
  OnStream on_stream_;
  std::function<void()> on_end_;
  nghttp2_session* session_ = nullptr;
  std::map<std::int32_t, std::unique_ptr<Stream>> streams_;
  std::unique_ptr<Stream> waiting_;  // of a client whose request is not complete yet
  std::string out_;
  bool readable_ = false, blocked_ = false, ended_ = false, pumping_ = false;
  std::uint32_t watched_ = 0;
  std::uint64_t opened_ = 0, reset_ = 0;
  EventLoop::TimerId idle_ = 0;
};

}  // namespace skiff::net
