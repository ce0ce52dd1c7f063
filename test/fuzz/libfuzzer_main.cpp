// libFuzzer's entry: the target is named by FUZZ_TARGET.

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "targets.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const skiff::fuzz::Target target = [] {
    const char* name = std::getenv("FUZZ_TARGET");
    skiff::fuzz::Target found = skiff::fuzz::find_target(name ? name : "");
    if (found == nullptr) std::fprintf(stderr, "FUZZ_TARGET must name a target\n"), std::exit(2);
    return found;
  }();
  target(std::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
