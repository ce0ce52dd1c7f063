#pragma once
// Between the versions of a custom resource (apiextensions-apiserver/pkg/apiserver/conversion).

#include <memory>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "registry/catalogue.hpp"
#include "registry/custom_version.hpp"
#include "registry/webhook_caller.hpp"

namespace skiff::registry {

/// How objects get from one version to another: nothing but the apiVersion changes, or a webhook says. Any thread.
class Converter {
 public:
  virtual ~Converter() = default;
  /// Whether it waits for somebody else.
  virtual bool blocks() const = 0;
  /// All `objects` become `api_version`, in place.
  virtual Status convert(std::vector<nlohmann::json>& objects, const std::string& api_version) const = 0;
};

std::unique_ptr<const Converter> none_converter();
/// `name` is the definition's. `caller` and `random` outlive the converter.
std::unique_ptr<const Converter> webhook_converter(const api::WebhookConversion& webhook, WebhookCaller& caller,
                                                   Random& random);

/// Of one served version. What is stored may also be of an older storage version: each object says which.
class CustomConversion final : public Conversion {
 public:
  CustomConversion(std::shared_ptr<const Converter> converter, std::shared_ptr<const CustomVersion> served,
                   std::shared_ptr<const CustomVersion> stored)
      : converter_(std::move(converter)), served_(std::move(served)), stored_(std::move(stored)) {}

  bool blocks() const { return converter_->blocks(); }
  Status to_stored(std::vector<nlohmann::json>& objects) const override;
  Status from_stored(std::vector<nlohmann::json>& objects) const override;

 private:
  Status check(const nlohmann::json& object) const;

  std::shared_ptr<const Converter> converter_;
  std::shared_ptr<const CustomVersion> served_, stored_;
};

/// Whether showing objects in this version may wait for a webhook.
bool may_block(const ServedKind& served);

}  // namespace skiff::registry
