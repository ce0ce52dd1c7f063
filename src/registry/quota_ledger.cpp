#include "registry/quota_ledger.hpp"

#include <algorithm>

#include "api/gen/core.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/service.hpp"
#include "api/gen/volume.hpp"
#include "api/quota.hpp"
#include "base/encoding.hpp"
#include "registry/admission.hpp"
#include "registry/write.hpp"

namespace skiff::registry {
namespace {

using api::ResourceList;
using QuotaRef = client::Ref<api::ResourceQuota>;

std::string text_of(const ResourceList& list) {
  std::vector<std::string> parts;
  for (const auto& [resource, quantity] : list) parts.push_back(resource + "=" + quantity.text());
  return join(parts, ",");
}

std::string names_of(const ResourceList& list) {
  std::vector<std::string> names;
  for (const auto& [resource, quantity] : list) names.push_back(resource);
  return join(names, ",");
}

// Whether quotas look at this request at all (evaluator.Handles).
bool is_counted(const Attributes& attributes) {
  if (!attributes.resource.kind->namespaced || !attributes.resource.strategy.stored || !attributes.object) return false;
  const api::KindInfo* kind = attributes.resource.kind;
  bool pods = kind == &api::kind_of<api::Pod>();
  if (attributes.operation == Operation::Update) {
    if (pods) return attributes.subresource == "resize";
    return attributes.subresource.empty() &&
           (kind == &api::kind_of<api::Service>() || kind == &api::kind_of<api::PersistentVolumeClaim>());
  }
  return attributes.operation == Operation::Create && attributes.subresource.empty();
}

void drop_zeros(ResourceList& list) {
  std::erase_if(list, [](const auto& entry) { return entry.second.zero(); });
}

}  // namespace

/// One write that wants to be charged, or one charge that is given back.
struct QuotaLedger::Request {
  const Attributes* attributes = nullptr;             // null: give back
  ResourceList usage;                                 // of the object, to be added
  std::map<std::string, ResourceList> charged = {};   // by quota; to give back, or what was charged
  std::optional<Error> refused = std::nullopt;
  bool done = false;
};

namespace {

// checkRequest: what of the quota's hard limits the object touches, or why it may not be written.
Result<ResourceList> wanted_of(const api::ResourceQuota& quota, const Attributes& attributes, const ResourceList& usage) {
  const api::KindInfo& kind = *attributes.resource.kind;
  ResourceList restricted;
  for (const auto& [resource, hard] : quota.status.hard)
    if (api::quota_counts(kind, resource)) restricted.emplace(resource, hard);
  if (restricted.empty() || !api::quota_covers(quota, kind, attributes.object->value.get())) return ResourceList();
  if (&kind == &api::kind_of<api::Pod>()) {
    std::string demands = api::quota_demands(*static_cast<const api::Pod*>(attributes.object->value.get()), restricted);
    if (!demands.empty()) return forbidden(attributes, fmt::format("failed quota: {}: {}", quota.metadata.name, demands));
  }
  bool counted = std::all_of(restricted.begin(), restricted.end(),
                             [&](const auto& entry) { return quota.status.used.contains(entry.first); });
  if (!counted)
    return forbidden(attributes, fmt::format("status unknown for quota: {}, resources: {}", quota.metadata.name,
                                             names_of(restricted)));
  return api::masked(usage, quota.status.hard);
}

Status check_room(const api::ResourceQuota& quota, const ResourceList& wanted, const Attributes& attributes) {
  ResourceList requested, used, limited;
  for (const auto& [resource, quantity] : wanted) {
    auto now = quota.status.used.find(resource);
    api::Quantity before = now == quota.status.used.end() ? api::Quantity() : now->second;
    const api::Quantity& hard = quota.status.hard.at(resource);
    if (before + quantity <= hard) continue;
    requested.emplace(resource, quantity);
    used.emplace(resource, before);
    limited.emplace(resource, hard);
  }
  if (requested.empty()) return ok();
  return forbidden(attributes, fmt::format("exceeded quota: {}, requested: {}, used: {}, limited: {}", quota.metadata.name,
                                           text_of(requested), text_of(used), text_of(limited)));
}

/// The namespace's quotas as a batch of requests sees and changes them.
class Books {
 public:
  explicit Books(const ListPage& page) {
    for (const Object& object : page.items) {
      api::ResourceQuota& quota = quotas_.emplace_back(*object.any().as<api::ResourceQuota>());
      before_.push_back(quota.status.used);
    }
  }

  Result<std::map<std::string, ResourceList>> charge(const Attributes& attributes, const ResourceList& usage) {
    std::vector<ResourceList> wanted;
    for (const api::ResourceQuota& quota : quotas_) {
      TRY_ASSIGN(ResourceList one, wanted_of(quota, attributes, usage));
      TRY(check_room(quota, one, attributes));
      wanted.push_back(std::move(one));
    }
    std::map<std::string, ResourceList> charged;
    if (attributes.dry_run()) return charged;
    for (size_t i = 0; i < quotas_.size(); ++i) {
      if (wanted[i].empty()) continue;
      api::add_to(quotas_[i].status.used, wanted[i]);
      charged.emplace(quotas_[i].metadata.name, std::move(wanted[i]));
    }
    return charged;
  }

  void give_back(const std::map<std::string, ResourceList>& charged) {
    for (api::ResourceQuota& quota : quotas_) {
      auto found = charged.find(quota.metadata.name);
      if (found != charged.end()) api::subtract_from(quota.status.used, api::masked(found->second, quota.status.used));
    }
  }

  /// Writes what changed; when another writer was faster at one quota, nothing is.
  Status write(client::Client& client) const {
    for (size_t i = 0; i < quotas_.size(); ++i) {
      if (quotas_[i].status.used == before_[i]) continue;
      auto written = client.update_status(quotas_[i]);
      if (written.ok()) continue;
      for (size_t done = 0; done < i; ++done) take_back(client, done);
      return std::move(written).error();
    }
    return ok();
  }

 private:
  void take_back(client::Client& client, size_t i) const {
    ResourceList difference = quotas_[i].status.used;
    api::subtract_from(difference, before_[i]);
    // A quota that is gone has nothing to take back; the controller's next count settles everything else.
    [[maybe_unused]] auto written = client.update_with_retry<api::ResourceQuota>(
        client::key_of(quotas_[i]),
        [&](api::ResourceQuota& quota) {
          api::subtract_from(quota.status.used, api::masked(difference, quota.status.used));
          return true;
        },
        true);
  }

  std::vector<api::ResourceQuota> quotas_;
  std::vector<ResourceList> before_;
};

}  // namespace

QuotaCharge::~QuotaCharge() {
  if (ledger_ == nullptr) return;
  QuotaLedger::Request request{.usage = {}, .charged = std::move(charged_)};
  ledger_->submit(namespace_, request);
  ledger_->settle(namespace_);
}

void QuotaCharge::keep() {
  if (QuotaLedger* ledger = std::exchange(ledger_, nullptr)) ledger->settle(namespace_);
}

QuotaLedger::QuotaLedger(Registry& registry)
    : registry_(registry), quotas_(registry.of(api::kind_of<api::ResourceQuota>())) {}

Result<QuotaCharge> QuotaLedger::charge(const Attributes& attributes) {
  if (!is_counted(attributes)) return QuotaCharge();
  const std::string& namespace_ = attributes.key.namespace_;
  if (!registry_.any_in(quotas_, namespace_)) return QuotaCharge();
  const api::KindInfo& kind = *attributes.resource.kind;
  api::Time now = api::Time::from(attributes.context.now);
  Request request{.attributes = &attributes, .usage = api::quota_usage(kind, attributes.object->value.get(), now)};
  if (attributes.old) {
    api::subtract_from(request.usage, api::quota_usage(kind, attributes.old.get(), now));
    drop_zeros(request.usage);
    if (request.usage.empty()) return QuotaCharge();
  }
  submit(namespace_, request);
  if (request.refused) return std::move(*request.refused);
  if (request.charged.empty()) return QuotaCharge();
  return QuotaCharge(*this, namespace_, std::move(request.charged));
}

bool QuotaLedger::pending(const std::string& namespace_) const {
  MutexLock lock(mutex_);
  auto lane = lanes_.find(namespace_);
  return lane != lanes_.end() && (lane->second.pending > 0 || lane->second.busy || !lane->second.waiting.empty());
}

void QuotaLedger::settle(const std::string& namespace_) {
  MutexLock lock(mutex_);
  --lanes_[namespace_].pending;
  drop_if_idle(namespace_);
}

// The first to come works for all who queue up behind it.
void QuotaLedger::submit(const std::string& namespace_, Request& request) {
  for (bool queued = false;;) {
    std::vector<Request*> batch;
    {
      MutexLock lock(mutex_);
      Lane& lane = lanes_[namespace_];
      if (!std::exchange(queued, true)) {
        lane.waiting.push_back(&request);
        ++lane.guests;
      }
      while (lane.busy && !request.done) done_.wait(mutex_);
      if (request.done) {
        --lane.guests;
        return drop_if_idle(namespace_);
      }
      lane.busy = true;
      batch = std::exchange(lane.waiting, {});
    }
    work(namespace_, batch);
    MutexLock lock(mutex_);
    Lane& lane = lanes_[namespace_];
    lane.busy = false;
    for (Request* one : batch) {
      one->done = true;
      if (one->attributes && !one->refused && !one->charged.empty()) ++lane.pending;
    }
    done_.notify_all();
  }
}

void QuotaLedger::drop_if_idle(const std::string& namespace_) {
  auto found = lanes_.find(namespace_);
  if (found == lanes_.end()) return;
  const Lane& lane = found->second;
  if (lane.pending == 0 && !lane.busy && lane.waiting.empty() && lane.guests == 0) lanes_.erase(found);
}

void QuotaLedger::work(const std::string& namespace_, const std::vector<Request*>& batch) {
  Status written = ok();
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    Result<ListPage> page = registry_.list(quotas_, {.namespace_ = namespace_});
    if (!page.ok()) break;  // a list of the newest state reads memory only
    Books books(page.value());
    for (Request* one : batch) {
      if (!one->attributes) {
        books.give_back(one->charged);
        continue;
      }
      one->refused.reset();
      one->charged.clear();
      auto charged = books.charge(*one->attributes, one->usage);
      if (charged.ok()) one->charged = std::move(charged).value();
      else one->refused = std::move(charged).error();
    }
    written = books.write(registry_.local_client());
    if (written.ok()) return;
    if (written.error().code() != Code::Conflict && written.error().code() != Code::NotFound) break;
  }
  for (Request* one : batch)
    if (one->attributes) one->refused = written.ok() ? Error(Code::Internal, "quotas cannot be read") : written.error();
}

}  // namespace skiff::registry
