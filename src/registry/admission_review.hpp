#pragma once
// The documents that the API server and webhooks exchange (admission.k8s.io/v1 and v1beta1).

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <string>
#include <vector>

#include "registry/webhook_match.hpp"

namespace skiff::registry {

struct ReviewRequest {
  std::string uid;
  std::string api_version;  // admission.k8s.io/v1 or v1beta1
  std::string json;
  std::string object;       // as it was sent, in the webhook's version
};

/// The AdmissionReview that asks `webhook` about a request it is to see as `view`.
Result<ReviewRequest> write_review(const Registry& registry, const Webhook& webhook, const Attributes& attributes,
                                   const WebhookView& view);

struct ReviewAnswer {
  bool allowed = false;
  std::optional<Error> refusal;           // in Kubernetes' words, when it is not allowed
  std::vector<std::string> warnings;
  std::string patch;                      // JSON patch, "" for none
};

/// Reads what the webhook answered. Internal: not an answer to that request.
Result<ReviewAnswer> read_review(const Webhook& webhook, const ReviewRequest& request, const std::string& body);

}  // namespace skiff::registry
