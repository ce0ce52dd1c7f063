#pragma once
// Reading the small files of cgroupfs; shared by the two backends.

#include <cstdint>
#include <string>
#include <string_view>

#include "sys/files.hpp"

namespace skiff::sys {

/// Writes a file that only some kernels have; false when it is not there or refuses.
bool write_existing(const std::string& path, std::string_view text);
/// The number in a one-line file; "max" and anything unreadable is 0.
std::uint64_t read_number(const std::string& path);
/// The number after `key` in the text of a "key number" file; 0 when absent.
std::uint64_t keyed(std::string_view text, std::string_view key);
/// The same of the file at `path`.
std::uint64_t read_keyed(const std::string& path, std::string_view key);
/// `usage` less the inactive file cache, never below zero.
inline std::uint64_t working_set(std::uint64_t usage, std::uint64_t inactive) {
  return usage > inactive ? usage - inactive : 0;
}

}  // namespace skiff::sys
