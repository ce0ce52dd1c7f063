#include "base/random.hpp"

#include <fmt/core.h>
#include <sys/random.h>

#include <cstdlib>
#include <string_view>

namespace skiff {

std::uint64_t Random::below(std::uint64_t bound) { return next() % bound; }

double Random::fraction() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

std::string Random::name_suffix(int length) {
  static constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
  std::string suffix;
  for (int i = 0; i < length; ++i) suffix += kAlphabet[below(kAlphabet.size())];
  return suffix;
}

std::string Random::uuid() {
  std::uint64_t high = (next() & ~0xf000ULL) | 0x4000ULL;
  std::uint64_t low = (next() & ~(0xc0ULL << 56)) | (0x80ULL << 56);
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", high >> 32, (high >> 16) & 0xffff, high & 0xffff,
                     low >> 48, low & 0xffffffffffffULL);
}

std::string Random::hex(int length) {
  std::string text;
  while (text.size() < static_cast<size_t>(length) * 2) text += fmt::format("{:016x}", next());
  text.resize(static_cast<size_t>(length) * 2);
  return text;
}

std::uint64_t SystemRandom::next() {
  std::uint64_t value = 0;
  // getrandom(2): requests of up to 256 bytes are never interrupted once the pool is initialised.
  if (::getrandom(&value, sizeof value, 0) != sizeof value) std::abort();
  return value;
}

std::uint64_t SeededRandom::next() {
  MutexLock lock(mutex_);
  return engine_();
}

}  // namespace skiff
