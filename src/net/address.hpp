#pragma once
// IPv4 addresses and ranges as numbers. Clusters are IPv4 for now; nothing but this file's types says so.

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace skiff::net {

struct Ipv4 {
  std::uint32_t value = 0;  // host byte order: arithmetic works

  std::string str() const;
  std::uint32_t network_order() const;
  static Ipv4 from_network_order(std::uint32_t value);
  auto operator<=>(const Ipv4&) const = default;
};

/// "10.0.0.1" and nothing else: no leading zeros, no short forms. Invalid otherwise.
Result<Ipv4> parse_ipv4(std::string_view text);

/// A range of addresses. `base` is its first address.
struct Cidr {
  Ipv4 base;
  int length = 32;

  std::string str() const;
  std::uint32_t mask() const;
  std::uint64_t size() const { return std::uint64_t{1} << (32 - length); }
  Ipv4 last() const { return {base.value | ~mask()}; }
  /// The address at `index`; the caller keeps it below size().
  Ipv4 at(std::uint32_t index) const { return {base.value + index}; }
  bool contains(Ipv4 address) const { return (address.value & mask()) == base.value; }
  bool overlaps(const Cidr& other) const { return contains(other.base) || other.contains(base); }
  auto operator<=>(const Cidr&) const = default;
};

/// "10.244.0.0/16"; bits beyond the length are cleared. Invalid otherwise.
Result<Cidr> parse_cidr(std::string_view text);

enum class Protocol : std::uint8_t { Tcp, Udp, Sctp };
std::string_view to_string(Protocol protocol);  // "tcp", "udp", "sctp"

struct Endpoint {
  Ipv4 address;
  std::uint16_t port = 0;

  std::string str() const { return fmt::format("{}:{}", address.str(), port); }
  auto operator<=>(const Endpoint&) const = default;
};

}  // namespace skiff::net
