// One watch of all kinds, for those who need to know of every object but not what it says.

#include <algorithm>

#include "api/gen/meta.hpp"
#include "api/json.hpp"
#include "base/log.hpp"
#include "registry/registry.hpp"
#include "registry/waiting_events.hpp"

namespace skiff::registry {
namespace {

using client::MetadataEvent;
using client::Ref;
using Kinds = std::vector<const api::KindInfo*>;

// `typed` is the record's decoded value where somebody has one.
Ref<api::ObjectMeta> metadata_of(const store::Record& record, const std::shared_ptr<const void>& typed) {
  if (typed) return {typed, static_cast<const api::ObjectMeta*>(typed.get())};
  auto partial = std::make_shared<api::PartialObjectMetadata>();
  if (Status decoded = api::decode_json(record.value, api::type_of<api::PartialObjectMetadata>(), partial.get()); !decoded.ok())
    log::error("registry", "metadata of '{}': {}", record.key, decoded.error().message());
  return {partial, &partial->metadata};
}

client::WatchEvent::Type type_of(const store::Event& event) {
  if (event.type == store::Event::Type::Delete) return client::WatchEvent::Type::Deleted;
  return event.previous ? client::WatchEvent::Type::Modified : client::WatchEvent::Type::Added;
}

class EveryKindWatch final : public client::MetadataWatch, public store::WatchSink {
 public:
  EveryKindWatch(const Registry& registry, Kinds kinds, Clock& clock)
      : registry_(registry), kinds_(std::move(kinds)), events_(clock) {}

  Status start(store::Store& store, store::Revision after) {
    TRY_ASSIGN(watch_, store.watch("", after, *this));
    return ok();
  }

  /// Null for what was not asked for.
  const api::KindInfo* wanted(std::string_view key) const {
    const api::KindInfo* kind = registry_.kind_at(key);
    bool asked = kinds_.empty() || std::find(kinds_.begin(), kinds_.end(), kind) != kinds_.end();
    return asked ? kind : nullptr;
  }

  Result<MetadataEvent> next(std::stop_token stop) override {
    for (;;) {
      TRY_ASSIGN(Waiting waiting, events_.next(stop));
      const store::Record& record = *waiting.event->record;
      if (const api::KindInfo* kind = wanted(record.key))
        return MetadataEvent{type_of(*waiting.event), kind, metadata_of(record, waiting.typed)};
    }
  }

  void on_events(std::span<const store::EventRef> events) override {
    for (const store::EventRef& event : events) events_.push({event, event->record->view()});
  }
  void on_closed(const Error& why) override { events_.close(why); }

 private:
  struct Waiting {
    store::EventRef event;
    std::shared_ptr<const void> typed;
  };

  const Registry& registry_;
  const Kinds kinds_;
  WaitingEvents<Waiting> events_;
  std::unique_ptr<store::Watch> watch_;  // last: no event arrives once it is gone
};

}  // namespace

const api::KindInfo* Registry::kind_at(std::string_view key) const {
  size_t group = key.find('/');
  size_t plural = group == key.npos ? group : key.find('/', group + 1);
  if (plural == key.npos) return nullptr;
  std::string_view wanted_group = key.substr(0, group), wanted_plural = key.substr(group + 1, plural - group - 1);
  if (const Resource* resource = catalogue()->stored_as(wanted_group, wanted_plural)) return resource->kind;
  MutexLock lock(publishing_);
  for (auto publication = kept_.rbegin(); publication != kept_.rend(); ++publication) {
    const api::KindInfo& kind = *(*publication)->resource->kind;
    if (wanted_group == kind.group && wanted_plural == kind.plural) return &kind;
  }
  return nullptr;
}

Result<std::unique_ptr<client::MetadataWatch>> Registry::watch_metadata(
    const Kinds& kinds, const std::function<void(const MetadataEvent&)>& present) {
  auto watch = std::make_unique<EveryKindWatch>(*this, kinds, clock_);
  TRY_ASSIGN(store::Page page, store_.list("", {}));
  TRY(watch->start(store_, page.revision));
  for (const store::RecordRef& record : page.items)
    if (const api::KindInfo* kind = watch->wanted(record->key))
      present({client::WatchEvent::Type::Added, kind, metadata_of(*record, record->view())});
  return watch;
}

}  // namespace skiff::registry
