// Counts what a namespace uses of its quotas (pkg/controller/resourcequota). Admission adds what is written; here the
// count is made anew when a quota changes and when something stops counting.

#include <algorithm>

#include "api/gen/pod.hpp"
#include "api/gen/service.hpp"
#include "api/gen/volume.hpp"
#include "api/quota.hpp"
#include "controllers/kinds.hpp"

namespace skiff::controllers {
namespace {

constexpr Duration kSoon = 5ms;  // another writer was at the quota

class ResourceQuotas final : public Controller {
 public:
  ResourceQuotas(const Context& context, const Kinds& served, client::MetadataFeed& everything, const QuotaPending& pending)
      : Controller(context, "resourcequota-controller", 2),
        pending_(pending),
        kinds_(served),
        quotas_(context.informers.of<api::ResourceQuota>()) {
    quotas_.on_change([this](const Ref<api::ResourceQuota>& before, const Ref<api::ResourceQuota>& now) {
      // Admission writes the status; that alone is no reason to count.
      if (now && (!before || before->metadata.uid != now->metadata.uid || before->spec != now->spec))
        queue().add(key_of(*now));
    });
    std::erase_if(kinds_, [](const api::KindInfo* kind) { return !kind->namespaced || kind == &api::kind_of<api::Event>(); });
    everything.on_change([this](const client::MetadataEvent& event) {
      if (event.type == client::WatchEvent::Type::Deleted) count_soon(event.metadata->namespace_);
    });
    everything.on_gap([this] { count_soon(""); });
    // What counts less, or soon will, while it exists.
    context.informers.of<api::Service>().on_change([this](const Ref<api::Service>& before, const Ref<api::Service>& now) {
      if (before && now && before->spec != now->spec) count_soon(now->metadata.namespace_);
    });
    context.informers.of<api::Pod>().on_change([this](const Ref<api::Pod>& before, const Ref<api::Pod>& now) {
      if (before && now) pod_changed(*before, *now);
      // Seen for the first time when it has ended already: it may have been counted before that.
      if (!before && now && api::is_finished(*now)) count_soon(now->metadata.namespace_);
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    // What is charged but not written yet would be missed.
    if (pending_ && pending_(key.namespace_)) return Requeue::in(kSoon);
    Result<Ref<api::ResourceQuota>> live = client_.get<api::ResourceQuota>(key);
    if (!live.ok() && live.error().code() == Code::NotFound) return Requeue::never();
    TRY(live);
    api::ResourceQuota next = *live.value();
    next.status.hard = next.spec.hard;
    TRY_ASSIGN(next.status.used, count(next));
    if (next.status == live.value()->status) return Requeue::never();
    Result<Ref<api::ResourceQuota>> written = client_.update_status(std::move(next));
    if (written.ok() || written.error().code() == Code::NotFound) return Requeue::never();
    if (written.error().code() == Code::Conflict) return Requeue::in(kSoon);
    return std::move(written).error();
  }

 private:
  // In one namespace, or in all.
  void count_soon(const std::string& namespace_) {
    for (const Ref<api::ResourceQuota>& quota : quotas_.list(namespace_)) queue().add(key_of(*quota));
  }

  void pod_changed(const api::Pod& before, const api::Pod& now) {
    if (api::is_finished(now) && !api::is_finished(before)) count_soon(now.metadata.namespace_);
    if (!now.metadata.deletionTimestamp || before.metadata.deletionTimestamp) return;
    // Should its node never answer, the pod counts until its time to stop is over.
    auto left = std::chrono::seconds(now.metadata.deletionGracePeriodSeconds.value_or(0) + 2);
    for (const Ref<api::ResourceQuota>& quota : quotas_.list(now.metadata.namespace_))
      queue().add_after(key_of(*quota), left);
  }

  Result<api::ResourceList> count(const api::ResourceQuota& quota) {
    api::ResourceList used;
    for (const auto& [resource, hard] : quota.spec.hard) used.emplace(resource, api::Quantity());
    Kinds kinds = kinds_;
    for (const api::KindInfo* kind : client_.custom_kinds()) kinds.push_back(kind);
    for (const api::KindInfo* kind : kinds) {
      bool counted = kind->namespaced && std::any_of(used.begin(), used.end(), [&](const auto& entry) {
                       return api::quota_counts(*kind, entry.first);
                     });
      if (!counted) continue;
      // Live, not from a cache: with the compare-and-swap of the status nothing that was charged can be missed.
      TRY_ASSIGN(client::AnyList all, client_.list(*kind, {.namespace_ = quota.metadata.namespace_}));
      for (const AnyRef& object : all.items)
        if (api::quota_covers(quota, *kind, object.get()))
          api::add_to(used, api::masked(api::quota_usage(*kind, object.get(), wall_now()), used));
    }
    return used;
  }

  const QuotaPending pending_;
  Kinds kinds_;  // constant once made
  client::Informer<api::ResourceQuota> quotas_;
};

}  // namespace

std::unique_ptr<Controller> resource_quotas(const Context& context, const Kinds& served,
                                            client::MetadataFeed& everything, const QuotaPending& pending) {
  return std::make_unique<ResourceQuotas>(context, served, everything, pending);
}

}  // namespace skiff::controllers
