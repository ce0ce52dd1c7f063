#pragma once
// Where pods may run: node selectors, affinity, spreading, taints and tolerations.

#include "api/gen/nodes.hpp"
#include "api/gen/pod.hpp"
#include "registry/kinds/field_checks.hpp"

namespace skiff::registry {

void check_node_selector(const api::NodeSelector& selector, const Path& path, FieldErrors& errors);
void check_affinity(const api::Affinity& affinity, const Path& path, FieldErrors& errors);
void check_spreading(const std::vector<api::TopologySpreadConstraint>& constraints, const Path& spec,
                     FieldErrors& errors);
void check_tolerations(const std::vector<api::Toleration>& tolerations, const Path& path, FieldErrors& errors);

}  // namespace skiff::registry
