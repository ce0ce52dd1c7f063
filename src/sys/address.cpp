#include "sys/address.hpp"

#include <arpa/inet.h>

#include <charconv>

namespace skiff::sys {
namespace {

/// A decimal number without sign or leading zeros, at most 255; -1 otherwise.
int parse_byte(std::string_view text) {
  int value = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  bool plain = failure == std::errc() && end == text.data() + text.size() && text[0] != '-' &&
               (text.size() == 1 || text[0] != '0');
  return plain && value <= 255 ? value : -1;
}

Result<Address> parse_v4(std::string_view text) {
  Error invalid = error(Code::Invalid, "'{}' is not an IP address", text);
  Address address;
  std::string_view rest = text;
  for (int part = 0; part < 4; ++part) {
    size_t dot = part < 3 ? rest.find('.') : rest.size();
    if (dot == std::string_view::npos || dot == 0) return invalid;
    int byte = parse_byte(rest.substr(0, dot));
    if (byte < 0) return invalid;
    address.value = address.value << 8 | static_cast<std::uint32_t>(byte);
    rest.remove_prefix(std::min(dot + 1, rest.size()));
  }
  return address;
}

}  // namespace

Address Address::from_bytes(std::string_view bytes) {
  if (bytes.size() != 4 && bytes.size() != 16) return {};
  Address address{bytes.size() == 4 ? Family::V4 : Family::V6, 0};
  for (char byte : bytes) address.value = address.value << 8 | static_cast<unsigned char>(byte);
  return address;
}

std::string Address::bytes() const {
  std::string bytes(static_cast<size_t>(bits_of(family)) / 8, '\0');
  Uint128 left = value;
  for (auto byte = bytes.rbegin(); byte != bytes.rend(); ++byte, left >>= 8)
    *byte = static_cast<char>(static_cast<unsigned char>(left & 255));
  return bytes;
}

std::string Address::str() const {
  if (!is_v6()) {
    auto v4 = static_cast<std::uint32_t>(value);
    return fmt::format("{}.{}.{}.{}", v4 >> 24, v4 >> 16 & 255, v4 >> 8 & 255, v4 & 255);
  }
  char text[INET6_ADDRSTRLEN] = "";
  ::inet_ntop(AF_INET6, bytes().data(), text, sizeof text);
  return text;
}

Result<Address> parse_address(std::string_view text) {
  if (text.find(':') == std::string_view::npos) return parse_v4(text);
  in6_addr raw{};
  bool plain = text.find('.') == std::string_view::npos;
  if (!plain || ::inet_pton(AF_INET6, std::string(text).c_str(), &raw) != 1)
    return error(Code::Invalid, "'{}' is not an IP address", text);
  return Address::from_bytes({reinterpret_cast<const char*>(&raw), sizeof raw});
}

}  // namespace skiff::sys
