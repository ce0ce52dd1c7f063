// resource.Quantity. The value is held as a count of nano units in 128 bits (about 1.7e20 units, beyond the
// int64 range of units that Kubernetes keeps exactly); finer fractions are rounded up, as there.

#include <algorithm>
#include <array>

#include "api/values.hpp"

namespace skiff::api {
namespace {

constexpr Int128 kNano = 1000000000;
constexpr Int128 kMaxNanos = static_cast<Int128>(std::numeric_limits<std::int64_t>::max()) * kNano;

struct Suffix {
  std::string_view text;
  int exponent;  // of 10, or of 2 for binary ones
};
constexpr std::array<Suffix, 10> kDecimal = {{{"n", -9}, {"u", -6}, {"m", -3}, {"", 0}, {"k", 3},
                                              {"M", 6}, {"G", 9}, {"T", 12}, {"P", 15}, {"E", 18}}};
constexpr std::array<Suffix, 6> kBinary = {{{"Ki", 10}, {"Mi", 20}, {"Gi", 30}, {"Ti", 40}, {"Pi", 50}, {"Ei", 60}}};

Int128 power(Int128 base, int exponent) {
  Int128 value = 1;
  for (int i = 0; i < exponent; ++i) value *= base;
  return value;
}

std::string decimal_text(Int128 value) {
  if (value < 0) return "-" + decimal_text(-value);
  std::string digits;
  do {
    digits += static_cast<char>('0' + static_cast<int>(value % 10));
    value /= 10;
  } while (value > 0);
  std::reverse(digits.begin(), digits.end());
  return digits;
}

std::int64_t rounded_up(Int128 nanos, Int128 unit) {
  Int128 value = nanos / unit;
  if (nanos > 0 && nanos % unit != 0) ++value;
  constexpr Int128 kMax = std::numeric_limits<std::int64_t>::max();
  return static_cast<std::int64_t>(std::clamp(value, -kMax, kMax));
}

// "12.5" times 10^exponent or 2^exponent, in nano units, rounded away from zero and saturating.
struct Number {
  bool negative = false;
  std::string digits;  // without the point
  int fraction = 0;    // how many of them stand behind it
};

Int128 scaled(const Number& number, int ten_exponent, int two_exponent) {
  Int128 mantissa = 0;
  int dropped_fraction = 0;
  bool inexact = false;
  for (size_t i = 0; i < number.digits.size(); ++i) {
    if (mantissa > power(10, 35)) {  // far beyond what can be kept
      size_t whole = number.digits.size() - static_cast<size_t>(number.fraction);
      if (i < whole) return kMaxNanos;
      dropped_fraction = static_cast<int>(number.digits.size() - i);
      inexact = true;
      break;
    }
    mantissa = mantissa * 10 + (number.digits[i] - '0');
  }
  int exponent = ten_exponent + 9 - (number.fraction - dropped_fraction);
  Int128 value = mantissa;
  for (int i = 0; i < two_exponent && value < kMaxNanos * 64; ++i) value *= 2;
  for (; exponent > 0 && value < kMaxNanos * 64; --exponent) value *= 10;
  for (; exponent < 0 && value != 0; ++exponent) {
    inexact = inexact || value % 10 != 0;
    value /= 10;
  }
  if (inexact) ++value;
  return std::min(value, kMaxNanos);
}

Error bad_quantity() {
  return Error(Code::BadRequest,
               "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
}

Error bad_suffix() { return Error(Code::BadRequest, "unable to parse quantity's suffix"); }

}  // namespace

Result<Quantity> Quantity::parse(std::string_view text) {
  Number number;
  size_t at = 0;
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) number.negative = text[at++] == '-';
  bool point = false;
  for (; at < text.size() && (text[at] == '.' || (text[at] >= '0' && text[at] <= '9')); ++at) {
    if (text[at] == '.') {
      if (point) return bad_quantity();
      point = true;
    } else {
      number.digits += text[at];
      number.fraction += point ? 1 : 0;
    }
  }
  if (number.digits.empty()) return bad_quantity();
  std::string_view suffix = text.substr(at);
  auto finish = [&](Int128 nanos, Format format) { return Quantity(number.negative ? -nanos : nanos, format); };
  for (const Suffix& known : kDecimal)
    if (suffix == known.text) return finish(scaled(number, known.exponent, 0), Format::Decimal);
  for (const Suffix& known : kBinary)
    if (suffix == known.text) return finish(scaled(number, 0, known.exponent), Format::Binary);
  if (suffix[0] != 'e' && suffix[0] != 'E') return bad_suffix();
  bool negative = suffix.size() > 1 && suffix[1] == '-';
  std::string_view digits = suffix.substr(suffix.size() > 1 && (suffix[1] == '-' || suffix[1] == '+') ? 2 : 1);
  if (digits.empty() || digits.size() > 3) return bad_suffix();
  int exponent = 0;
  for (char c : digits) {
    if (c < '0' || c > '9') return bad_suffix();
    exponent = exponent * 10 + (c - '0');
  }
  return finish(scaled(number, negative ? -exponent : exponent, 0), Format::Exponent);
}

Quantity::Quantity(Int128 nanos, Format format) : nanos_(nanos), format_(format) {
  // Binary suffixes cannot say fractions, and are not used below 1024.
  bool fraction = nanos % kNano != 0;
  if (format == Format::Binary && (fraction || (nanos > -1024 * kNano && nanos < 1024 * kNano)))
    format = Format::Decimal;
  if (nanos == 0) {
    text_ = "0";
  } else if (format == Format::Binary) {
    Int128 value = nanos / kNano;
    size_t steps = 0;
    while (steps < kBinary.size() && value % 1024 == 0) value /= 1024, ++steps;
    text_ = decimal_text(value) + std::string(steps ? kBinary[steps - 1].text : "");
  } else {
    Int128 value = nanos;
    size_t steps = 0;
    while (steps + 1 < kDecimal.size() && value % 1000 == 0) value /= 1000, ++steps;
    text_ = decimal_text(value);
    if (format == Format::Decimal) text_ += kDecimal[steps].text;
    else if (kDecimal[steps].exponent != 0) text_ += "e" + std::to_string(kDecimal[steps].exponent);
  }
}

Quantity Quantity::of(std::int64_t value) { return Quantity(value * kNano, Format::Decimal); }
Quantity Quantity::of_milli(std::int64_t milli) { return Quantity(milli * (kNano / 1000), Format::Decimal); }
Quantity Quantity::of_bytes(std::int64_t bytes) { return Quantity(bytes * kNano, Format::Binary); }

std::int64_t Quantity::value() const { return rounded_up(nanos_, kNano); }
std::int64_t Quantity::milli() const { return rounded_up(nanos_, kNano / 1000); }

Quantity Quantity::operator+(const Quantity& other) const {
  return Quantity(nanos_ + other.nanos_, zero() ? other.format_ : format_);
}
Quantity Quantity::operator-(const Quantity& other) const {
  return Quantity(nanos_ - other.nanos_, zero() ? other.format_ : format_);
}

Result<std::int32_t> IntOrString::scaled(std::int32_t total, bool round_up) const {
  if (!is_string) return number;
  if (text.empty() || text.back() != '%' || text.size() > 10 ||
      !std::all_of(text.begin(), text.end() - 1, [](char c) { return c >= '0' && c <= '9'; }) || text.size() == 1)
    return error(Code::Invalid, "invalid value for IntOrString: invalid type: string is not a percentage");
  std::int64_t percent = std::stoll(text.substr(0, text.size() - 1));
  std::int64_t product = percent * total;
  return static_cast<std::int32_t>(round_up ? (product + 99) / 100 : product / 100);
}

}  // namespace skiff::api
