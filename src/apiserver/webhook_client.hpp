#pragma once
// The API server's calls to webhooks: HTTPS to a URL, or to a Service through the network of a node.

#include "client/client.hpp"
#include "client/node_access.hpp"
#include "registry/webhook_caller.hpp"

namespace skiff::apiserver {

/// One connection a call. A service is reached at the first of its endpoints that answers the dial.
class WebhookClient final : public registry::WebhookCaller {
 public:
  WebhookClient(client::Client& cluster, client::NodeAccessByName nodes)
      : cluster_(cluster), nodes_(std::move(nodes)) {}

  Result<std::string> post(const registry::WebhookTarget& target, const std::string& json,
                           Duration timeout) override;

 private:
  Result<UniqueFd> dial_service(const registry::WebhookTarget& target) const;
  std::shared_ptr<client::NodeAccess> any_node() const;

  client::Client& cluster_;
  client::NodeAccessByName nodes_;
};

}  // namespace skiff::apiserver
