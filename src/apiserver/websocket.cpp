#include "apiserver/websocket.hpp"

#include <algorithm>
#include <array>

#include "apiserver/openssl.hpp"
#include "base/encoding.hpp"

namespace skiff::apiserver {

namespace {
constexpr std::string_view kHandshakeGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455, 1.3
constexpr size_t kMaxControlPayload = 125;
constexpr std::uint16_t kProtocolError = 1002;
constexpr std::uint16_t kTooBig = 1009;

std::uint64_t big_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (char byte : bytes) value = value << 8 | static_cast<std::uint8_t>(byte);
  return value;
}

void put_big_endian(std::string& out, std::uint64_t value, int bytes) {
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(value >> shift & 0xff));
}

bool is_control(WebSocketOpcode opcode) { return (static_cast<std::uint8_t>(opcode) & 8) != 0; }
}  // namespace

std::string websocket_accept(std::string_view key) {
  std::string text = std::string(key).append(kHandshakeGuid);
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), hash.data(), &size, EVP_sha1(), nullptr);
  return base64_encode({reinterpret_cast<const char*>(hash.data()), size});
}

Status WebSocketCodec::receive(std::string_view bytes, std::vector<WebSocketMessage>& messages) {
  if (peer_closed_) return ok();  // RFC 6455, 5.5.1: nothing after a close frame counts
  input_.append(bytes);
  size_t used = 0;
  Status status = ok();
  while (status.ok() && !peer_closed_) {
    Frame frame;
    Parsed parsed = parse_header(std::string_view(input_).substr(used), frame);
    if (parsed == Parsed::Malformed) return fail(kProtocolError, "malformed frame");
    if (parsed == Parsed::Incomplete) break;
    if (frame.size > max_message_ || message_.payload.size() + frame.size > max_message_)
      return fail(kTooBig, "message too big");
    if (input_.size() - used < frame.header + frame.size) break;
    std::string payload = input_.substr(used + frame.header, frame.size);
    for (size_t i = 0; i < payload.size(); ++i)
      payload[i] = static_cast<char>(payload[i] ^ frame.mask[i % 4]);
    used += frame.header + frame.size;
    status = take(frame, std::move(payload), messages);
  }
  input_.erase(0, used);
  return status;
}

WebSocketCodec::Parsed WebSocketCodec::parse_header(std::string_view bytes, Frame& frame) const {
  if (bytes.size() < 2) return Parsed::Incomplete;
  auto first = static_cast<std::uint8_t>(bytes[0]);
  auto second = static_cast<std::uint8_t>(bytes[1]);
  frame.final = (first & 0x80) != 0;
  frame.opcode = static_cast<WebSocketOpcode>(first & 0x0f);
  bool masked = (second & 0x80) != 0;
  if ((first & 0x70) != 0 || !masked) return Parsed::Malformed;  // no extension was agreed; clients must mask
  size_t length_bytes = 0;
  frame.size = second & 0x7f;
  if (frame.size == 126) length_bytes = 2;
  if (frame.size == 127) length_bytes = 8;
  frame.header = 2 + length_bytes + 4;
  if (is_control(frame.opcode) && (!frame.final || frame.size > kMaxControlPayload)) return Parsed::Malformed;
  if (bytes.size() < frame.header) return Parsed::Incomplete;
  if (length_bytes > 0) frame.size = big_endian(bytes.substr(2, length_bytes));
  std::ranges::copy(bytes.substr(2 + length_bytes, 4), frame.mask);
  return Parsed::Frame;
}

Status WebSocketCodec::take(const Frame& frame, std::string payload,
                            std::vector<WebSocketMessage>& messages) {
  if (is_control(frame.opcode)) return take_control(frame, std::move(payload));
  bool continues = frame.opcode == WebSocketOpcode::Continuation;
  bool known = continues || frame.opcode == WebSocketOpcode::Text || frame.opcode == WebSocketOpcode::Binary;
  if (!known || continues != in_message_) return fail(kProtocolError, "unexpected opcode");
  if (!continues) message_.text = frame.opcode == WebSocketOpcode::Text;
  message_.payload.append(payload);
  in_message_ = !frame.final;
  if (frame.final) messages.push_back(std::exchange(message_, {}));
  return ok();
}

Status WebSocketCodec::take_control(const Frame& frame, std::string payload) {
  switch (frame.opcode) {
    case WebSocketOpcode::Ping:
      send(WebSocketOpcode::Pong, payload);
      return ok();
    case WebSocketOpcode::Pong:
      return ok();
    case WebSocketOpcode::Close:
      peer_closed_ = true;
      if (payload.size() == 1) return fail(kProtocolError, "malformed close frame");
      close(payload.empty() ? std::uint16_t{1000}
                            : static_cast<std::uint16_t>(big_endian(payload.substr(0, 2))),
            "");
      return ok();
    default:
      return fail(kProtocolError, "unknown opcode");
  }
}

Status WebSocketCodec::fail(std::uint16_t code, std::string_view reason) {
  close(code, reason);
  peer_closed_ = true;
  return error(Code::BadRequest, "websocket: {}", reason);
}

void WebSocketCodec::send(WebSocketOpcode opcode, std::string_view payload) {
  if (close_sent_) return;
  output_.push_back(static_cast<char>(0x80 | static_cast<std::uint8_t>(opcode)));
  if (payload.size() < 126) {
    output_.push_back(static_cast<char>(payload.size()));
  } else if (payload.size() <= 0xffff) {
    output_.push_back(126);
    put_big_endian(output_, payload.size(), 2);
  } else {
    output_.push_back(127);
    put_big_endian(output_, payload.size(), 8);
  }
  output_.append(payload);
}

void WebSocketCodec::close(std::uint16_t code, std::string_view reason) {
  if (close_sent_) return;
  std::string payload;
  put_big_endian(payload, code, 2);
  payload.append(reason.substr(0, kMaxControlPayload - 2));
  send(WebSocketOpcode::Close, payload);
  close_sent_ = true;
}

}  // namespace skiff::apiserver
