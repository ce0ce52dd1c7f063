#pragma once
// The scalar types of the API that C++ has no word for.

#include <compare>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "base/error.hpp"

namespace skiff::api {

/// metav1.Time: a moment with a precision of one second, or unset (the default).
class Time {
 public:
  Time() = default;
  static Time from(WallTime moment);  // cut to whole seconds
  /// RFC 3339 with any offset; the fraction is dropped. BadRequest on anything else.
  static Result<Time> parse(std::string_view text);

  explicit operator bool() const { return seconds_ != kUnset; }
  std::int64_t unix_seconds() const { return seconds_; }
  WallTime wall() const { return WallTime(std::chrono::seconds(seconds_)); }
  std::string text() const;  // "2006-01-02T15:04:05Z"; empty when unset
  auto operator<=>(const Time&) const = default;

 private:
  static constexpr std::int64_t kUnset = std::numeric_limits<std::int64_t>::min();
  std::int64_t seconds_ = kUnset;
};

/// metav1.MicroTime: the same to a microsecond.
class MicroTime {
 public:
  MicroTime() = default;
  static MicroTime from(WallTime moment);
  static Result<MicroTime> parse(std::string_view text);

  explicit operator bool() const { return micros_ != kUnset; }
  WallTime wall() const { return WallTime(std::chrono::microseconds(micros_)); }
  std::string text() const;  // "2006-01-02T15:04:05.000000Z"
  auto operator<=>(const MicroTime&) const = default;

 private:
  static constexpr std::int64_t kUnset = std::numeric_limits<std::int64_t>::min();
  std::int64_t micros_ = kUnset;
};

__extension__ typedef __int128 Int128;

/// resource.Quantity: a decimal number with an SI or binary suffix, kept in its canonical text.
class Quantity {
 public:
  Quantity() = default;
  /// Canonical as Kubernetes writes it ("1000m" -> "1", "1024Mi" -> "1Gi"). BadRequest with Kubernetes' message.
  static Result<Quantity> parse(std::string_view text);
  static Quantity of(std::int64_t value);        // decimal: 1500 -> "1500"
  static Quantity of_milli(std::int64_t milli);  // decimal: 1500 -> "1500m"
  static Quantity of_bytes(std::int64_t bytes);  // binary: 1048576 -> "1Mi"

  const std::string& text() const { return text_; }
  bool zero() const { return nanos_ == 0; }
  std::int64_t value() const;  // rounded up, saturating
  std::int64_t milli() const;  // rounded up, saturating

  /// The suffix family follows the left operand, or the right when the left is zero.
  Quantity operator+(const Quantity& other) const;
  Quantity operator-(const Quantity& other) const;
  std::strong_ordering operator<=>(const Quantity& other) const { return nanos_ <=> other.nanos_; }
  bool operator==(const Quantity& other) const { return nanos_ == other.nanos_; }

 private:
  enum class Format : std::uint8_t { Decimal, Binary, Exponent };
  Quantity(Int128 nanos, Format format);

  Int128 nanos_ = 0;
  Format format_ = Format::Decimal;
  std::string text_ = "0";
};

/// intstr.IntOrString.
struct IntOrString {
  IntOrString() = default;
  IntOrString(std::int32_t value) : number(value) {}
  IntOrString(std::string value) : is_string(true), text(std::move(value)) {}
  IntOrString(const char* value) : is_string(true), text(value) {}

  bool is_string = false;
  std::int32_t number = 0;
  std::string text;

  std::string str() const { return is_string ? text : std::to_string(number); }
  /// intstr.GetScaledValueFromIntOrPercent: "25%" of `total`, rounded as told. Invalid for other text.
  Result<std::int32_t> scaled(std::int32_t total, bool round_up) const;
  bool operator==(const IntOrString&) const = default;
};

/// Base64 in JSON, bytes in memory.
struct Bytes {
  std::string data;
  auto operator<=>(const Bytes&) const = default;
};

/// A bool that can stand in a vector and be pointed at.
struct Flag {
  bool value = false;
  bool operator==(const Flag&) const = default;
};

/// A JSON value of any shape, kept as compact text; empty when absent.
struct Raw {
  std::string json;
  bool operator==(const Raw&) const = default;
};

}  // namespace skiff::api
