#pragma once
// Addresses of either family and ranges of them as numbers.

#include <algorithm>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "sys/address.hpp"

namespace skiff::net {

using sys::Address;
using sys::Family;
using sys::parse_address;
using sys::Uint128;

/// "IPv4", "IPv6": what the API calls them.
std::string_view to_string(Family family);

/// A range of addresses. `base` is its first address.
struct Cidr {
  Address base;
  int length = 32;

  Family family() const { return base.family; }
  std::string str() const;
  Uint128 mask() const;
  /// How many addresses it has; of more than 2^62 it says so many.
  std::uint64_t size() const { return std::uint64_t{1} << std::min(62, sys::bits_of(family()) - length); }
  Address last() const;
  /// The address at `index`; the caller keeps it below size().
  Address at(std::uint64_t index) const { return {base.family, base.value + index}; }
  /// The range of so many bits that is `index` such ranges further on.
  Cidr part(std::uint64_t index, int bits) const;
  bool single() const { return length == sys::bits_of(family()); }
  bool contains(Address address) const {
    return address.family == family() && (address.value & mask()) == base.value;
  }
  bool overlaps(const Cidr& other) const { return contains(other.base) || other.contains(base); }
  auto operator<=>(const Cidr&) const = default;
};

/// "10.244.0.0/16", "fd00::/64"; bits beyond the length are cleared. Invalid otherwise.
Result<Cidr> parse_cidr(std::string_view text);

enum class Protocol : std::uint8_t { Tcp, Udp, Sctp };
std::string_view to_string(Protocol protocol);  // "tcp", "udp", "sctp"

struct Endpoint {
  Address address;
  std::uint16_t port = 0;

  std::string str() const {
    return fmt::format(fmt::runtime(address.is_v6() ? "[{}]:{}" : "{}:{}"), address.str(), port);
  }
  auto operator<=>(const Endpoint&) const = default;
};

/// "10.0.0.1:53", "[fd00::1]:53". Invalid otherwise.
Result<Endpoint> parse_endpoint(std::string_view text);

}  // namespace skiff::net
