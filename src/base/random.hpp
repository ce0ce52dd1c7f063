#pragma once
// Randomness is handed in, as time is; tests seed it.

#include <cstdint>
#include <random>
#include <string>

#include "base/mutex.hpp"

namespace skiff {

/// Any thread.
class Random {
 public:
  virtual ~Random() = default;
  virtual std::uint64_t next() = 0;

  /// Uniform in [0, bound); bound > 0.
  std::uint64_t below(std::uint64_t bound);
  /// Uniform in [0, 1).
  double fraction();
  /// `length` characters of Kubernetes' name alphabet (no vowels, no look-alikes: utilrand.String).
  std::string name_suffix(int length);
  /// A random (version 4) UUID in lower case.
  std::string uuid();
  /// `length` random bytes, hexadecimal.
  std::string hex(int length);
};

/// The kernel's getrandom(2), for everything outside tests.
class SystemRandom final : public Random {
 public:
  std::uint64_t next() override;
};

/// A reproducible sequence.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t next() override;

 private:
  Mutex mutex_;
  std::mt19937_64 engine_ GUARDED_BY(mutex_);
};

}  // namespace skiff
