#pragma once
// SPDY/3.1, the server's side, as far as kubectl (moby/spdystream) uses it: what the client opens are streams
// with headers; either side sends data on them. Pure: bytes in, events and bytes out.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace skiff::apiserver {

using SpdyStreamId = std::uint32_t;
using SpdyHeaders = std::map<std::string, std::string, std::less<>>;  // names in lower case

struct SpdyEvent {
  enum class Kind { Opened, Data, Finished, Reset };
  Kind kind = Kind::Opened;
  SpdyStreamId stream = 0;
  SpdyHeaders headers;  // Opened
  std::string data;     // Data
};

struct SpdyLimits {
  size_t streams = 256;
  size_t frame_bytes = 1U << 20;
  size_t header_bytes = 64U << 10;  // after decompression
};

class SpdySession {
 public:
  explicit SpdySession(SpdyLimits limits = {});
  ~SpdySession();
  SpdySession(SpdySession&&) noexcept;
  SpdySession& operator=(SpdySession&&) noexcept;

  /// Takes received bytes and appends what they mean. BadRequest: the peer broke the protocol; a GOAWAY is in
  /// the output and the session is over.
  Status receive(std::string_view bytes, std::vector<SpdyEvent>& events);

  /// Accepts a stream that the client opened (SYN_REPLY).
  void reply(SpdyStreamId stream);
  /// Data for the peer. What the peer's window does not admit waits here (see waiting()).
  void send(SpdyStreamId stream, std::string_view data);
  /// Half-closes after everything sent so far.
  void finish(SpdyStreamId stream);
  void reset(SpdyStreamId stream);
  void go_away();
  /// `bytes` of received data have been dealt with: lets the peer send as much again.
  void consumed(SpdyStreamId stream, size_t bytes);

  bool open(SpdyStreamId stream) const;
  /// Bytes accepted by send() that wait for the peer's window.
  size_t waiting() const;
  bool peer_gone() const { return peer_gone_; }
  /// Bytes for the peer; the caller takes off the front what it has written.
  std::string& output() { return output_; }

 private:
  struct Stream;
  struct Zlib;
  Status take_control(std::uint16_t type, std::uint8_t flags, std::string_view body,
                      std::vector<SpdyEvent>& events);
  Status take_data(SpdyStreamId stream, bool fin, std::string_view data, std::vector<SpdyEvent>& events);
  Status take_syn_stream(std::uint8_t flags, std::string_view body, std::vector<SpdyEvent>& events);
  Status take_settings(std::string_view body);
  Status take_window_update(std::string_view body);
  Result<SpdyHeaders> inflate_headers(std::string_view block);
  std::string deflate_headers(const SpdyHeaders& headers);
  Status fail(std::string_view why);
  void control(std::uint16_t type, std::uint8_t flags, std::string_view body);
  void data_frame(SpdyStreamId stream, bool fin, std::string_view data);
  void flush(SpdyStreamId id, Stream& stream);
  void forget_if_done(SpdyStreamId id);

  SpdyLimits limits_;
  std::unique_ptr<Zlib> zlib_;
  std::map<SpdyStreamId, Stream> streams_;
  SpdyStreamId last_accepted_ = 0;
  // spdystream neither counts windows nor sends WINDOW_UPDATE; only a peer that shows it does is held to
  // them.
  bool peer_counts_ = false;
  std::int64_t initial_window_ = 65536;
  std::int64_t session_window_ = 65536;
  size_t session_unacknowledged_ = 0;
  bool peer_gone_ = false;
  bool over_ = false;
  std::string input_;
  std::string output_;
};

}  // namespace skiff::apiserver
