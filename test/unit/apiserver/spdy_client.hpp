#pragma once
// The client's half of SPDY/3.1, as far as tests need it: frames out, and the server's frames taken apart.

#include <zlib.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skiff::test {

inline std::string big_endian(std::uint32_t value, int bytes = 4) {
  std::string out;
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(value >> shift & 0xff));
  return out;
}

struct SpdyFrame {
  bool control = false;
  unsigned type = 0;         // of a control frame
  std::uint32_t stream = 0;  // the first word of the body of a control frame
  unsigned flags = 0;
  std::string body;
};

class SpdyClient {
 public:
  using Pairs = std::vector<std::pair<std::string, std::string>>;

  SpdyClient() { ::deflateInit(&zlib_, 9); }
  ~SpdyClient() { ::deflateEnd(&zlib_); }
  SpdyClient(const SpdyClient&) = delete;
  SpdyClient& operator=(const SpdyClient&) = delete;

  static std::string control(unsigned type, unsigned flags, std::string_view body) {
    return big_endian(0x80030000U | type) +
           big_endian(flags << 24 | static_cast<std::uint32_t>(body.size())) + std::string(body);
  }
  std::string open(std::uint32_t stream, const Pairs& headers, unsigned flags = 0) {
    return control(1, flags, big_endian(stream) + big_endian(0) + big_endian(0, 2) + pack(headers));
  }
  static std::string data(std::uint32_t stream, std::string_view bytes, bool fin = false) {
    return big_endian(stream) + big_endian((fin ? 1U << 24 : 0) | static_cast<std::uint32_t>(bytes.size())) +
           std::string(bytes);
  }
  std::string pack(const Pairs& headers) {
    std::string plain = big_endian(static_cast<std::uint32_t>(headers.size()));
    for (const auto& [name, value] : headers)
      plain += big_endian(static_cast<std::uint32_t>(name.size())) + name +
               big_endian(static_cast<std::uint32_t>(value.size())) + value;
    return deflate(plain);
  }
  std::string deflate(std::string plain) {
    std::string out(plain.size() + 1000, '\0');
    zlib_.next_in = reinterpret_cast<Bytef*>(plain.data());
    zlib_.avail_in = static_cast<uInt>(plain.size());
    zlib_.next_out = reinterpret_cast<Bytef*>(out.data());
    zlib_.avail_out = static_cast<uInt>(out.size());
    ::deflate(&zlib_, Z_SYNC_FLUSH);
    out.resize(out.size() - zlib_.avail_out);
    return out;
  }

 private:
  z_stream zlib_{};
};

inline std::uint32_t word(std::string_view bytes, size_t at) {
  std::uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

inline std::optional<SpdyFrame> take_spdy_frame(std::string& bytes) {
  if (bytes.size() < 8) return std::nullopt;
  std::uint32_t first = word(bytes, 0);
  size_t size = word(bytes, 4) & 0xffffff;
  if (bytes.size() < 8 + size) return std::nullopt;
  SpdyFrame frame;
  frame.control = (first >> 31) == 1;
  frame.flags = word(bytes, 4) >> 24;
  frame.body = bytes.substr(8, size);
  frame.type = frame.control ? first & 0xffff : 0;
  frame.stream = frame.control && size >= 4 ? word(frame.body, 0) : first;
  bytes.erase(0, 8 + size);
  return frame;
}

}  // namespace skiff::test
