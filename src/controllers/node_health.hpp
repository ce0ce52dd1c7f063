#pragma once
// What a node's conditions mean for others: taints, zones, conditions of a node that fell silent
// (pkg/controller/nodelifecycle). Pure.

#include <string>
#include <vector>

#include "api/gen/nodes.hpp"
#include "base/clock.hpp"

namespace skiff::controllers {

inline constexpr char kNotReadyTaint[] = "node.kubernetes.io/not-ready";
inline constexpr char kUnreachableTaint[] = "node.kubernetes.io/unreachable";
inline constexpr char kOutOfServiceTaint[] = "node.kubernetes.io/out-of-service";
/// On nodes that this process only pretends to have: nobody sends heartbeats for them.
inline constexpr char kSimulated[] = "skiff.dev/simulated";

/// Null when the node never said.
const api::NodeCondition* find_condition(const api::Node& node, const std::string& type);
/// "True", "False" or "Unknown".
std::string readiness(const api::Node& node);
bool has_taint(const api::Node& node, const std::string& key, const std::string& effect);

/// What a node that has not been heard of gets: its conditions become Unknown.
void mark_silent(api::Node& node, api::Time now);

/// Sets the NoSchedule taints that follow from conditions and from being cordoned. False when they stand already.
bool set_schedule_taints(api::Node& node, api::Time now);
/// Sets the NoExecute taint of `key` and takes the other of the two off; "" takes both off. False: nothing to do.
bool set_execute_taint(api::Node& node, const std::string& key, api::Time now);

/// Region and zone by the node's labels; empty when it has neither.
std::string zone_of(const api::Node& node);
enum class ZoneState { Normal, Partial, Full };
ZoneState zone_state(int ready, int not_ready);
/// How long after one node of a zone the next may be emptied; zero: none at all.
Duration eviction_pause(ZoneState state, int nodes_in_zone);

}  // namespace skiff::controllers
