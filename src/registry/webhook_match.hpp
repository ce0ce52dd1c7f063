#pragma once
// Which webhooks a request is for.

#include <optional>
#include <string>
#include <vector>

#include "api/gen/admissionregistration.hpp"
#include "registry/admission.hpp"

namespace skiff::registry {

/// A webhook of either kind. Points into its configuration.
struct Webhook {
  Webhook() = default;
  template <class Hook>
  Webhook(client::AnyRef from, const Hook& hook)
      : configuration(std::move(from)), name(hook.name), client_config(&hook.clientConfig), rules(&hook.rules),
        namespaces(hook.namespaceSelector.get()), objects(hook.objectSelector.get()), ignores_failure(hook.failurePolicy == "Ignore"),
        side_effects(hook.sideEffects), timeout_seconds(hook.timeoutSeconds.value_or(10)),
        review_versions(&hook.admissionReviewVersions), exact(hook.matchPolicy == "Exact") {
    if constexpr (requires { hook.reinvocationPolicy; }) reinvoked = hook.reinvocationPolicy == "IfNeeded";
  }

  client::AnyRef configuration;  // holds what the others point to
  std::string name;
  const api::WebhookClientConfig* client_config = nullptr;
  const std::vector<api::RuleWithOperations>* rules = nullptr;
  const api::LabelSelector* namespaces = nullptr;
  const api::LabelSelector* objects = nullptr;
  bool ignores_failure = false;
  std::string side_effects;
  int timeout_seconds = 10;
  const std::vector<std::string>* review_versions = nullptr;
  bool exact = false;
  bool reinvoked = false;
};

/// Group and version in which a webhook sees a request, as a served version of the resource; null for the version
/// that is stored or, with a subresource's own kind, for that kind.
struct WebhookView {
  std::string group, version;
  const ServedKind* served = nullptr;
};

/// The version that the client speaks.
WebhookView requested_view(const Registry& registry, const Attributes& attributes);
/// How `webhook` is to see the request; nothing when it is not for it.
Result<std::optional<WebhookView>> match(const Registry& registry, const Webhook& webhook, const Attributes& attributes);

}  // namespace skiff::registry
