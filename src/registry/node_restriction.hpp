#pragma once

#include "registry/admission.hpp"

namespace skiff::registry {

/// NodeRestriction: what a node may not do although it is authorised to: touch other nodes and their pods, steer pods
/// to itself by labels and taints, take tokens of pods that do not run on it
/// (kubernetes/plugin/pkg/admission/noderestriction).
Status check_node_restriction(const Attributes& attributes);

}  // namespace skiff::registry
