#include "net/address.hpp"

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

/// As many ones as the address is long.
Uint128 all_bits(Family family) { return family == Family::V6 ? ~Uint128{0} : Uint128{0xffffffff}; }

}  // namespace

std::string_view to_string(Family family) { return family == Family::V4 ? "IPv4" : "IPv6"; }

std::string Cidr::str() const { return fmt::format("{}/{}", base.str(), length); }

Uint128 Cidr::mask() const {
  int rest = sys::bits_of(family()) - length;
  return rest == 128 ? Uint128{0} : (all_bits(family()) >> rest) << rest;
}

Address Cidr::last() const { return {base.family, base.value | (~mask() & all_bits(family()))}; }

Cidr Cidr::part(std::uint64_t index, int bits) const {
  return {{base.family, base.value + (Uint128{index} << (sys::bits_of(family()) - bits))}, bits};
}

Result<Cidr> parse_cidr(std::string_view text) {
  Error invalid = error(Code::Invalid, "'{}' is not a CIDR", text);
  size_t slash = text.find('/');
  if (slash == std::string_view::npos || slash + 1 >= text.size()) return invalid;
  Result<Address> base = parse_address(text.substr(0, slash));
  if (!base.ok()) return invalid;
  int length = parse_number(text.substr(slash + 1), sys::bits_of(base.value().family));
  if (length < 0) return invalid;
  Cidr cidr{base.value(), length};
  cidr.base.value &= cidr.mask();
  return cidr;
}

Result<Endpoint> parse_endpoint(std::string_view text) {
  Error invalid = error(Code::Invalid, "'{}' is not an address with a port", text);
  size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon + 1 >= text.size()) return invalid;
  std::string_view host = text.substr(0, colon);
  bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  Result<Address> address = parse_address(bracketed ? host.substr(1, host.size() - 2) : host);
  int port = parse_number(text.substr(colon + 1), 65535);
  if (!address.ok() || address.value().is_v6() != bracketed || port < 0) return invalid;
  return Endpoint{address.value(), static_cast<std::uint16_t>(port)};
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
