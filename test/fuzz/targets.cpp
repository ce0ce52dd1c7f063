#include "targets.hpp"

#include <cstdio>
#include <cstdlib>

namespace skiff::fuzz {

Target find_target(std::string_view name) {
  for (std::span<const NamedTarget> family : {object_targets(), transport_targets(), network_targets()})
    for (const NamedTarget& target : family)
      if (target.name == name) return target.run;
  return nullptr;
}

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "property broken: %s\n", what);
  std::abort();
}

}  // namespace skiff::fuzz
