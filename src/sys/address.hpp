#pragma once
// An IP address of either family as a number.

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace skiff::sys {

__extension__ typedef unsigned __int128 Uint128;

enum class Family : std::uint8_t { V4, V6 };

constexpr int bits_of(Family family) { return family == Family::V4 ? 32 : 128; }

struct Address {
  Family family = Family::V4;
  Uint128 value = 0;  // host byte order: arithmetic works

  static constexpr Address v4(std::uint32_t value) { return {Family::V4, value}; }
  static constexpr Address any(Family family) { return {family, 0}; }
  static constexpr Address loopback(Family family) {
    return {family, family == Family::V4 ? Uint128{0x7f000001} : Uint128{1}};
  }
  /// 4 or 16 bytes in network order; anything else is 0.0.0.0.
  static Address from_bytes(std::string_view bytes);

  bool is_v6() const { return family == Family::V6; }
  bool is_any() const { return value == 0; }
  bool is_loopback() const { return is_v6() ? value == 1 : value >> 24 == 127; }
  std::string bytes() const;  // in network order
  std::string str() const;    // "10.0.0.1", "fd00::1"
  auto operator<=>(const Address&) const = default;
};

/// Either family, as it is written usually: no leading zeros in IPv4, no zones, no IPv4 in IPv6. Invalid otherwise.
Result<Address> parse_address(std::string_view text);

}  // namespace skiff::sys
