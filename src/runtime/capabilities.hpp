#pragma once
// Capabilities by their Kubernetes names ("NET_ADMIN", without the CAP_ prefix).

#include <cstdint>
#include <optional>
#include <string_view>

namespace skiff::runtime {

struct CapabilitySet {
  std::uint64_t bits = 0;

  constexpr CapabilitySet with(int number) const { return {bits | std::uint64_t{1} << number}; }
  constexpr CapabilitySet without(int number) const { return {bits & ~(std::uint64_t{1} << number)}; }
  constexpr bool has(int number) const { return (bits >> number & 1U) != 0; }
  bool operator==(const CapabilitySet&) const = default;
};

/// The number of "NET_ADMIN" or "CAP_NET_ADMIN", in any case; nullopt when there is no such capability.
std::optional<int> capability_number(std::string_view name);

/// CHOWN, DAC_OVERRIDE, FSETID, FOWNER, MKNOD, NET_RAW, SETGID, SETUID, SETFCAP, SETPCAP, NET_BIND_SERVICE,
/// SYS_CHROOT, KILL, AUDIT_WRITE: what containerd and Docker give.
inline constexpr CapabilitySet kDefaultCapabilities{0xa80425fb};
inline constexpr CapabilitySet kAllCapabilities{(std::uint64_t{1} << 41) - 1};

}  // namespace skiff::runtime
