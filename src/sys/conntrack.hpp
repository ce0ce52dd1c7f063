#pragma once
// Flows that the kernel tracks in a network namespace.

#include <cstdint>
#include <functional>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "sys/address.hpp"

namespace skiff::sys {

/// Where a flow was sent and who answers.
struct Flow {
  Address original_destination;
  std::uint16_t original_port = 0;
  Address reply_source;
  std::uint16_t reply_port = 0;
};

/// Forgets the flows of UDP of one family that `stale` picks: their next packet is looked at anew. Any thread.
Status remove_udp_flows(const UniqueFd& network, Family family,
                        const std::function<bool(const Flow&)>& stale);

}  // namespace skiff::sys
