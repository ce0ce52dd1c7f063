#pragma once
// Whether this node takes a pod on at all. Pure.

#include <optional>
#include <set>
#include <string>

#include "api/gen/nodes.hpp"
#include "api/gen/pod.hpp"
#include "kubelet/node_room.hpp"

namespace skiff::kubelet {

/// Reason and message of the pod's status, which becomes Failed.
struct Rejection {
  std::string reason, message;
};

struct AdmissionFacts {
  const api::Node* node = nullptr;           // null: it is not registered yet
  bool app_armor = false;                    // the kernel has it
  std::set<std::string> unsafe_sysctls = {}; // that the node allows ("kernel.msg*")
};

/// All but room on the node.
std::optional<Rejection> check_admission(const api::Pod& pod, const AdmissionFacts& facts);

/// In the kubelet's words.
Rejection out_of(const Shortage& shortage);

}  // namespace skiff::kubelet
