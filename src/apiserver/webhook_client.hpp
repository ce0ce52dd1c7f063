#pragma once
// The API server's calls to webhooks: HTTPS to a URL, or to a Service through the network of a node.

#include "apiserver/service_dialer.hpp"
#include "registry/webhook_caller.hpp"

namespace skiff::apiserver {

/// One connection a call. A service is reached at the first of its endpoints that answers the dial.
class WebhookClient final : public registry::WebhookCaller {
 public:
  WebhookClient(client::Client& cluster, client::NodeAccessByName nodes)
      : services_(cluster, std::move(nodes)) {}

  Result<std::string> post(const registry::WebhookTarget& target, const std::string& json,
                           Duration timeout) override;

 private:
  ServiceDialer services_;
};

}  // namespace skiff::apiserver
