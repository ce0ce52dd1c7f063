#pragma once
// The downward API: fields of the pod and its resources as text.

#include <string>
#include <vector>

#include "api/gen/nodes.hpp"
#include "api/gen/pod.hpp"
#include "base/error.hpp"

namespace skiff::kubelet {

/// What fields are read from.
struct FieldSource {
  const api::Pod& pod;
  std::vector<std::string> pod_ips;
  std::vector<std::string> host_ips;
  std::map<std::string, api::Quantity> allocatable;  // the node's: a container without a limit may use that
};

/// "metadata.name", "metadata.labels['app']", "status.podIP", ... Invalid: no such field.
Result<std::string> field_value(const FieldSource& source, const std::string& path);

/// "limits.cpu", "requests.memory", ... divided by the divisor and rounded up.
Result<std::string> resource_value(const FieldSource& source, const api::Container& container,
                                   const api::ResourceFieldSelector& selector);

/// The main or init container of that name; null when there is none.
const api::Container* find_container(const api::Pod& pod, const std::string& name);

/// An ephemeral container's fields as those of the others.
api::Container as_container(const api::EphemeralContainer& container);
/// Whether the pod has a container of any sort with that name.
bool has_container(const api::Pod& pod, const std::string& name);

}  // namespace skiff::kubelet
