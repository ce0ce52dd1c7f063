#pragma once
// The client's half of WebSocket, as far as tests need it.

#include <optional>
#include <string>
#include <string_view>

namespace skiff::test {

/// A masked frame whose first byte (FIN, opcode) is `first`.
inline std::string client_frame(unsigned first, std::string_view payload) {
  std::string out(1, static_cast<char>(first));
  size_t size = payload.size();
  if (size < 126) {
    out.push_back(static_cast<char>(0x80 | size));
  } else if (size < 65536) {
    out.push_back(static_cast<char>(0x80 | 126));
    out.push_back(static_cast<char>(size >> 8));
    out.push_back(static_cast<char>(size & 0xff));
  } else {
    out.push_back(static_cast<char>(0x80 | 127));
    for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(size >> shift & 0xff));
  }
  const char mask[4] = {0x11, 0x22, 0x33, 0x44};
  out.append(mask, 4);
  for (size_t i = 0; i < size; ++i) out.push_back(static_cast<char>(payload[i] ^ mask[i % 4]));
  return out;
}

struct ServerFrame {
  unsigned first = 0;
  std::string payload;
};

/// Takes one unmasked frame off the front of `bytes`.
inline std::optional<ServerFrame> take_server_frame(std::string& bytes) {
  if (bytes.size() < 2) return std::nullopt;
  size_t size = static_cast<unsigned char>(bytes[1]);
  size_t head = 2;
  int wide = size == 126 ? 2 : size == 127 ? 8 : 0;
  if (wide > 0) {
    if (bytes.size() < 2 + static_cast<size_t>(wide)) return std::nullopt;
    size = 0;
    for (int i = 0; i < wide; ++i) size = size << 8 | static_cast<unsigned char>(bytes[head++]);
  }
  if (bytes.size() < head + size) return std::nullopt;
  ServerFrame frame{static_cast<unsigned char>(bytes[0]), bytes.substr(head, size)};
  bytes.erase(0, head + size);
  return frame;
}

}  // namespace skiff::test
