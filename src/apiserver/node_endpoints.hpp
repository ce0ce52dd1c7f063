#pragma once
// What a kubelet answers on its own port, reached as nodes/NAME/proxy/PATH: its health, pods, figures and logs.

#include "apiserver/verbs.hpp"

namespace skiff::apiserver {

/// The answer for `path` of the node ("/stats/summary").
Response node_endpoint(const Call& call, std::shared_ptr<client::NodeAccess> node, const std::string& name,
                       const std::string& path);

/// The documents themselves. Pure.
std::string usage_summary(const client::NodeUsage& usage);
std::string resource_metrics(const client::NodeUsage& usage);
std::string container_metrics(const client::NodeUsage& usage);

}  // namespace skiff::apiserver
