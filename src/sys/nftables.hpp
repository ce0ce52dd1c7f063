#pragma once
// nft commands, run as one transaction in one network namespace.

#include <memory>
#include <string>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace skiff::sys {

/// Runs `commands` (the language of nft(8)) in `network`: all of them or none. Returns what they print.
/// Invalid: nft's own words. Any thread; calls wait for each other.
Result<std::string> run_nft(const UniqueFd& network, const std::string& commands);

/// The same for one network namespace, again and again. Closing the kernel's side of a connection waits until
/// what was removed through it is gone (some 15 ms), so whoever changes rules often keeps one. Any thread.
class NftSession {
 public:
  static Result<std::unique_ptr<NftSession>> open(const UniqueFd& network);
  ~NftSession();
  Result<std::string> run(const std::string& commands);

 private:
  struct Context;
  explicit NftSession(std::unique_ptr<Context> context);
  std::unique_ptr<Context> context_;
};

}  // namespace skiff::sys
