#pragma once

#include "client/client.hpp"
#include "registry/registry.hpp"

namespace skiff::registry {

/// The in-process Client: calls the registry with an administrator's rights and hands typed objects over as they are.
class LocalClient final : public client::Client {
 public:
  /// `manager` is whose fields it writes.
  LocalClient(Registry& registry, Clock& clock, std::string manager)
      : registry_(registry), clock_(clock), manager_(std::move(manager)) {}

  using client::Client::create;
  using client::Client::get;
  using client::Client::list;
  using client::Client::remove;
  using client::Client::update;
  using client::Client::update_status;

  Result<AnyRef> get(const api::KindInfo& kind, const ObjectKey& key) override;
  Result<client::AnyList> list(const api::KindInfo& kind, const client::ListOptions& options) override;
  Result<std::unique_ptr<client::Watch>> watch(const api::KindInfo& kind, const client::ListOptions& options,
                                               const std::string& resource_version) override;
  Result<std::unique_ptr<client::MetadataWatch>> watch_metadata(
      const std::vector<const api::KindInfo*>& kinds,
      const std::function<void(const client::MetadataEvent&)>& present) override;
  Result<AnyRef> create(const AnyRef& object) override;
  Result<AnyRef> update(const AnyRef& object) override;
  Result<AnyRef> update_status(const AnyRef& object) override;
  Result<AnyRef> patch(const api::KindInfo& kind, const ObjectKey& key, client::PatchType type,
                       const std::string& body, const std::string& subresource) override;
  Result<AnyRef> remove(const api::KindInfo& kind, const ObjectKey& key,
                        const client::DeleteOptions& options) override;
  Result<AnyRef> create_subresource(const api::KindInfo& kind, const ObjectKey& key, const std::string& subresource,
                                    const AnyRef& object) override;
  std::vector<const api::KindInfo*> custom_kinds() override;
  const api::KindInfo* find_kind(const std::string& api_version, const std::string& kind) override;

 private:
  RequestContext administrator() const;

  Registry& registry_;
  Clock& clock_;
  const std::string manager_;
};

}  // namespace skiff::registry
