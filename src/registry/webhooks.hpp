#pragma once
// MutatingWebhookConfigurations and ValidatingWebhookConfigurations at work.

#include <functional>

#include "registry/admission_review.hpp"
#include "registry/webhook_caller.hpp"

namespace skiff::registry {

/// Asks the webhooks whose rules match a request. Any thread; blocks for as long as they take.
class Webhooks {
 public:
  explicit Webhooks(Registry& registry);

  void connect(WebhookCaller& caller) { caller_ = &caller; }

  /// One after another, in the order of their names; `plugins` runs again when one of them changed the object, and so
  /// do the webhooks that asked for it.
  Status mutate(Attributes& attributes, const std::function<Status()>& plugins);
  /// All of them at once; the first refusal counts.
  Status validate(const Attributes& attributes);

 private:
  template <class Configuration>
  std::vector<Webhook> configured(const Resource& resource) const;
  /// What to send; nothing when it is not for this request.
  Result<std::optional<ReviewRequest>> prepare(const Webhook& webhook, const Attributes& attributes);
  /// Nothing: it could not be asked and need not be.
  Result<std::optional<ReviewAnswer>> ask(const Webhook& webhook, const ReviewRequest& request);
  Result<ReviewAnswer> exchange(const Webhook& webhook, const ReviewRequest& request);
  /// Applies what a webhook answered; true when the object changed.
  Result<bool> patch(const Webhook& webhook, Attributes& attributes, const ReviewAnswer& answer);
  Result<bool> mutate_by(const Webhook& webhook, Attributes& attributes);

  Registry& registry_;
  const Resource& mutating_;
  const Resource& validating_;
  WebhookCaller* caller_ = nullptr;
};

}  // namespace skiff::registry
