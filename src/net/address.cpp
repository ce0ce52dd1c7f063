#include "net/address.hpp"

#include <arpa/inet.h>

#include <charconv>

namespace skiff::net {
namespace {

/// A decimal number without sign or leading zeros, at most `max`; -1 otherwise.
int parse_number(std::string_view text, int max) {
  int value = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  bool plain = failure == std::errc() && end == text.data() + text.size() && text[0] != '-' &&
               (text.size() == 1 || text[0] != '0');
  return plain && value <= max ? value : -1;
}

}  // namespace

std::string Ipv4::str() const {
  return fmt::format("{}.{}.{}.{}", value >> 24, value >> 16 & 255, value >> 8 & 255, value & 255);
}

std::uint32_t Ipv4::network_order() const { return htonl(value); }
Ipv4 Ipv4::from_network_order(std::uint32_t value) { return {ntohl(value)}; }

Result<Ipv4> parse_ipv4(std::string_view text) {
  Error invalid = error(Code::Invalid, "'{}' is not an IPv4 address", text);
  Ipv4 address;
  std::string_view rest = text;
  for (int part = 0; part < 4; ++part) {
    size_t dot = part < 3 ? rest.find('.') : rest.size();
    if (dot == std::string_view::npos || dot == 0) return invalid;
    int byte = parse_number(rest.substr(0, dot), 255);
    if (byte < 0) return invalid;
    address.value = address.value << 8 | static_cast<std::uint32_t>(byte);
    rest.remove_prefix(std::min(dot + 1, rest.size()));
  }
  return address;
}

std::string Cidr::str() const { return fmt::format("{}/{}", base.str(), length); }

std::uint32_t Cidr::mask() const { return length == 0 ? 0 : ~std::uint32_t{0} << (32 - length); }

Result<Cidr> parse_cidr(std::string_view text) {
  size_t slash = text.find('/');
  int length = -1;
  if (slash != std::string_view::npos && slash + 1 < text.size())
    length = parse_number(text.substr(slash + 1), 32);
  if (length < 0) return error(Code::Invalid, "'{}' is not a CIDR", text);
  TRY_ASSIGN(Ipv4 base, parse_ipv4(text.substr(0, slash)));
  Cidr cidr{base, length};
  cidr.base.value &= cidr.mask();
  return cidr;
}

std::string_view to_string(Protocol protocol) {
  switch (protocol) {
    case Protocol::Tcp:
      return "tcp";
    case Protocol::Udp:
      return "udp";
    case Protocol::Sctp:
      return "sctp";
  }
  return "";
}

}  // namespace skiff::net
