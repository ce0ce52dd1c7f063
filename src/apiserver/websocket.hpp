#pragma once
// RFC 6455, the server's side: the opening handshake's arithmetic and a frame codec. Pure: bytes in, messages
// and bytes out.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace skiff::apiserver {

/// Sec-WebSocket-Accept for the client's Sec-WebSocket-Key.
std::string websocket_accept(std::string_view key);

enum class WebSocketOpcode : std::uint8_t {
  Continuation = 0,
  Text = 1,
  Binary = 2,
  Close = 8,
  Ping = 9,
  Pong = 10
};

struct WebSocketMessage {
  bool text = false;
  std::string payload;
};

/// One connection after its handshake. Fragments are joined, pings answered, a close answered and remembered.
class WebSocketCodec {
 public:
  /// A message of more than `max_message` bytes is a protocol error.
  explicit WebSocketCodec(size_t max_message) : max_message_(max_message) {}

  /// Takes received bytes and appends the messages they complete. BadRequest: the peer broke the protocol; a
  /// close frame that says so is in the output, nothing further may be received.
  Status receive(std::string_view bytes, std::vector<WebSocketMessage>& messages);

  void send(WebSocketOpcode opcode, std::string_view payload);
  /// Sends a close frame, once. `reason` is cut to what fits.
  void close(std::uint16_t code, std::string_view reason);

  /// Bytes for the peer; the caller takes off the front what it has written.
  std::string& output() { return output_; }
  /// The peer has sent a close frame.
  bool peer_closed() const { return peer_closed_; }

 private:
  struct Frame {
    bool final = false;
    WebSocketOpcode opcode = WebSocketOpcode::Continuation;
    std::uint64_t size = 0;
    size_t header = 0;  // bytes of the header, mask included
    std::uint8_t mask[4] = {};
  };
  enum class Parsed { Incomplete, Frame, Malformed };
  Parsed parse_header(std::string_view bytes, Frame& frame) const;
  Status take(const Frame& frame, std::string payload, std::vector<WebSocketMessage>& messages);
  Status take_control(const Frame& frame, std::string payload);
  Status fail(std::uint16_t code, std::string_view reason);

  size_t max_message_;
  std::string input_;
  std::string output_;
  bool in_message_ = false;
  WebSocketMessage message_;
  bool close_sent_ = false;
  bool peer_closed_ = false;
};

}  // namespace skiff::apiserver
