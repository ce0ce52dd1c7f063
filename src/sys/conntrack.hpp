#pragma once
// Flows that the kernel tracks in a network namespace.

#include <cstdint>
#include <functional>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace skiff::sys {

/// Where a flow was sent and who answers, in host byte order.
struct Flow {
  std::uint32_t original_destination = 0;
  std::uint16_t original_port = 0;
  std::uint32_t reply_source = 0;
  std::uint16_t reply_port = 0;
};

/// Forgets the IPv4 flows of UDP that `stale` picks: their next packet is looked at anew. Any thread.
Status remove_udp_flows(const UniqueFd& network, const std::function<bool(const Flow&)>& stale);

}  // namespace skiff::sys
