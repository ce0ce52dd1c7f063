#pragma once
// nft commands, run as one transaction in one network namespace.

#include <string>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace skiff::sys {

/// Runs `commands` (the language of nft(8)) in `network`: all of them or none. Returns what they print.
/// Invalid: nft's own words. Any thread; calls wait for each other.
Result<std::string> run_nft(const UniqueFd& network, const std::string& commands);

}  // namespace skiff::sys
