#pragma once
// The decoders under test, by name.

#include <span>
#include <string_view>

namespace skiff::fuzz {

/// Takes any bytes. Aborts when a property does not hold.
using Target = void (*)(std::string_view bytes);

struct NamedTarget {
  std::string_view name;
  Target run;
};

std::span<const NamedTarget> object_targets();     // bodies, patches, selectors: objects.cpp
std::span<const NamedTarget> transport_targets();  // requests, frames, tokens, certificates: transport.cpp

std::span<const NamedTarget> network_targets();    // the ingress, DNS: network.cpp

/// Null when there is none.
Target find_target(std::string_view name);

/// The property `what` must hold.
void require(bool holds, const char* what);

}  // namespace skiff::fuzz
