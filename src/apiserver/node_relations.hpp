#pragma once
// Which objects a node's pods need.

#include <string_view>

#include "client/client.hpp"

namespace skiff::apiserver {

/// Whether the object `key` of `resource` (secrets, configmaps, persistentvolumeclaims, persistentvolumes,
/// serviceaccounts, pods, resourceclaims, volumeattachments) belongs to `node` or to a pod on it.
bool node_needs(client::Client& cluster, const std::string& node, std::string_view resource,
                const client::ObjectKey& key);

}  // namespace skiff::apiserver
