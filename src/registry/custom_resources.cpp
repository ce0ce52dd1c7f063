#include "registry/custom_resources.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "registry/custom_conversion.hpp"
#include "registry/custom_strategy.hpp"
#include "registry/custom_version.hpp"

namespace skiff::registry {

using client::Ref;
using client::Requeue;

namespace {

// Everything that a publication's entries point to.
struct Held {
  std::vector<std::shared_ptr<const CustomVersion>> versions;
  std::vector<std::unique_ptr<const CustomConversion>> conversions;
};

std::string deprecation_of(const api::CustomResourceDefinition& crd,
                           const api::CustomResourceDefinitionVersion& version) {
  if (!version.deprecated) return "";
  if (!version.deprecationWarning.empty()) return version.deprecationWarning;
  const std::string& group = crd.spec.group;
  const std::string& kind = crd.spec.names.kind;
  std::string text = fmt::format("{}/{} {} is deprecated", group, version.name, kind);
  for (const api::CustomResourceDefinitionVersion& other : crd.spec.versions)
    if (other.served && other.storage && !other.deprecated)
      text += fmt::format("; use {}/{} {}", group, other.name, kind);
  return text;
}

CrdCondition terminating(const char* status, const char* reason, std::string message) {
  CrdCondition condition;
  condition.type = "Terminating";
  condition.status = status;
  condition.reason = reason;
  condition.message = std::move(message);
  return condition;
}

}  // namespace

CustomResources::CustomResources(Registry& registry, Clock& clock, Random& random, WebhookCaller* webhooks)
    : registry_(registry), client_(registry.local_client()), clock_(clock), random_(random), webhooks_(webhooks),
      any_definitions_(client_, clock, api::kind_of<Crd>()), definitions_(any_definitions_), runner_(clock, *this) {
  definitions_.on_change([this](const Ref<Crd>& before, const Ref<Crd>& now) { changed(before, now); });
}

CustomResources::~CustomResources() { stop(); }

Status CustomResources::start() {
  TRY_ASSIGN(std::vector<Ref<Crd>> known, client_.list<Crd>());
  for (const Ref<Crd>& crd : known) {
    if (!is_condition_true(*crd, "Established")) continue;
    if (Status published = publish(*crd); !published.ok())
      log::warning("custom-resources", "{}: {}", crd->metadata.name, published.error().message());
  }
  any_definitions_.start();
  runner_.start();
  return ok();
}

void CustomResources::stop() {
  runner_.stop();
  for (auto& [name, informer] : last_ones_) informer->stop();
  any_definitions_.stop();
}

void CustomResources::changed(const Ref<Crd>& before, const Ref<Crd>& now) {
  runner_.queue().add(client::key_of(now ? *now : *before));
  if (now) return;
  // Names have become free that others of the group may be waiting for.
  for (const Ref<Crd>& other : definitions_.list())
    if (other->spec.group == before->spec.group && !is_condition_true(*other, "NamesAccepted"))
      runner_.queue().add(client::key_of(*other));
}

Result<Requeue> CustomResources::reconcile(const ObjectKey& key) {
  Result<Ref<Crd>> live = client_.get<Crd>(key);
  if (!live.ok() && live.error().code() == Code::NotFound) {
    retire(key.name);
    end_watches(key.name);
    kinds_.erase(key.name);
    return Requeue::never();
  }
  TRY(live);
  if (live.value()->metadata.deletionTimestamp) TRY(clean(live.value()));
  else TRY(settle_names(live.value()));
  return Requeue::never();
}

Status CustomResources::settle_names(const Ref<Crd>& crd) {
  TRY_ASSIGN(std::vector<Ref<Crd>> all, client_.list<Crd>());
  std::vector<const Crd*> others;
  for (const Ref<Crd>& one : all) others.push_back(one.get());
  Crd next = *crd;
  settle(next, others, api::Time::from(clock_.wall_now()));
  // Served before anybody can read that it is.
  if (is_condition_true(next, "Established")) TRY(publish(next));
  if (next.status == crd->status) return ok();
  TRY(client_.update_status(next));
  return ok();
}

Status CustomResources::publish(const Crd& crd) {
  Shown shown{crd.metadata.uid, crd.metadata.generation, crd.status.acceptedNames,
              static_cast<bool>(crd.metadata.deletionTimestamp)};
  auto known = shown_.find(crd.metadata.name);
  if (known != shown_.end() && known->second == shown) return ok();
  TRY_ASSIGN(Publication publication, publication_of(crd));
  const api::KindInfo* kind = publication.resource->kind;
  registry_.publish(crd.metadata.name, std::move(publication));
  // The beginning of a deletion counts as a generation, too, but watchers are to see the instances go.
  bool same_shape = known != shown_.end() && known->second.uid == shown.uid &&
                    (known->second.generation == shown.generation || shown.terminating);
  if (!same_shape) end_watches(crd.metadata.name);
  kinds_[crd.metadata.name].push_back(kind);
  shown_[crd.metadata.name] = std::move(shown);
  return ok();
}

Result<Publication> CustomResources::publication_of(const Crd& crd) {
  auto held = std::make_shared<Held>();
  std::shared_ptr<const CustomVersion> stored;
  for (const api::CustomResourceDefinitionVersion& version : crd.spec.versions) {
    TRY_ASSIGN(std::shared_ptr<const CustomVersion> made, CustomVersion::make(crd, version));
    if (version.storage) stored = made;
    held->versions.push_back(std::move(made));
  }
  if (!stored) return Error(Code::Invalid, "no version is the storage version");
  std::shared_ptr<const Converter> converter = none_converter();
  const auto& conversion = crd.spec.conversion;
  if (conversion && conversion->strategy == "Webhook" && conversion->webhook) {
    if (!webhooks_) return Error(Code::Unavailable, "this server calls no conversion webhooks");
    converter = webhook_converter(*conversion->webhook, *webhooks_, random_);
  }
  Publication publication;
  publication.resource = std::make_shared<const Resource>(
      Resource{&stored->kind(), custom_strategy(stored, static_cast<bool>(crd.metadata.deletionTimestamp))});
  for (size_t i = 0; i < crd.spec.versions.size(); ++i) {
    if (!crd.spec.versions[i].served) continue;
    const std::shared_ptr<const CustomVersion>& version = held->versions[i];
    ServedKind served{publication.resource.get(), &version->kind(), nullptr, deprecation_of(crd, crd.spec.versions[i])};
    // What was stored under this very definition is in shape; a changed one may have new defaults or versions.
    if (version != stored || crd.metadata.generation > 1) {
      held->conversions.push_back(std::make_unique<const CustomConversion>(converter, version, stored));
      served.conversion = held->conversions.back().get();
    }
    publication.versions.push_back(std::move(served));
  }
  publication.holds = std::move(held);
  return publication;
}

void CustomResources::end_watches(const std::string& name) {
  for (const api::KindInfo* kind : std::exchange(kinds_[name], {})) registry_.end_watches(*kind);
}

void CustomResources::retire(const std::string& name) {
  last_ones_.erase(name);
  shown_.erase(name);
  registry_.retire(name);
}

Status CustomResources::clean(const Ref<Crd>& crd) {
  const std::vector<std::string>& finalizers = crd->metadata.finalizers;
  if (std::ranges::find(finalizers, kCleanupFinalizer) == finalizers.end()) return ok();
  const std::string& name = crd->metadata.name;
  // One that never was established has no instances anybody could have made.
  if (!is_condition_true(*crd, "Established")) return let_go(crd);
  TRY(publish(*crd));
  wait_for_instances(name, *kinds_.at(name).back());
  TRY_ASSIGN(size_t left, remove_instances(*kinds_.at(name).back()));
  if (left == 0) {
    retire(name);
    return let_go(crd);
  }
  Crd next = *crd;
  set_condition(next,
                terminating("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress"),
                api::Time::from(clock_.wall_now()));
  if (next.status == crd->status) return ok();
  TRY(client_.update_status(next));
  return ok();
}

Result<size_t> CustomResources::remove_instances(const api::KindInfo& kind) {
  TRY_ASSIGN(client::AnyList all, client_.list(kind, {}));
  for (const AnyRef& one : all.items) {
    if (one.metadata().deletionTimestamp) continue;
    Result<AnyRef> removed = client_.remove(kind, client::key_of(one.metadata()), {.uid = one.metadata().uid});
    if (!removed.ok() && removed.error().code() != Code::NotFound) return std::move(removed).error();
  }
  TRY_ASSIGN(all, client_.list(kind, {}));
  return all.items.size();
}

// The instance that goes last wakes its definition.
void CustomResources::wait_for_instances(const std::string& name, const api::KindInfo& kind) {
  std::unique_ptr<client::AnyInformer>& informer = last_ones_[name];
  if (informer) return;
  informer = std::make_unique<client::AnyInformer>(client_, clock_, kind);
  informer->on_change([this, name](const AnyRef&, const AnyRef& now) {
    if (!now) runner_.queue().add({"", name});
  });
  informer->start();
}

Status CustomResources::let_go(const Ref<Crd>& crd) {
  Crd next = *crd;
  std::erase(next.metadata.finalizers, kCleanupFinalizer);
  Result<Ref<Crd>> written = client_.update(std::move(next));
  if (!written.ok() && written.error().code() != Code::NotFound) return std::move(written).error();
  return ok();
}

}  // namespace skiff::registry
