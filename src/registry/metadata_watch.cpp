// One watch of all kinds, for those who need to know of every object but not what it says.

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

  /// One watch of the store, or one a kind.
  Status start(store::Store& store, store::Revision after) {
    for (const std::string& prefix : prefixes()) {
      TRY_ASSIGN(std::unique_ptr<store::Watch> watch, store.watch(prefix, after, *this));
      watches_.push_back(std::move(watch));
    }
    return ok();
  }

  /// Of the store's keys that are followed.
  std::vector<std::string> prefixes() const {
    if (kinds_.empty()) return {""};
    std::vector<std::string> all;
    for (const api::KindInfo* kind : kinds_) all.push_back(registry_.of(*kind).prefix());
    return all;
  }

  /// The reader's: what comes at once is mostly of one kind. Null for what was never served.
  const api::KindInfo* kind_of_key(std::string_view key) {
    if (last_kind_ && key.starts_with(last_prefix_)) return last_kind_;
    last_kind_ = registry_.kind_at(key);
    last_prefix_ = key.substr(0, key.find('/', key.find('/') + 1) + 1);
    return last_kind_;
  }

  Result<MetadataEvent> next(std::stop_token stop) override {
    for (;;) {
      TRY_ASSIGN(Waiting waiting, events_.next(stop));
      const store::Record& record = *waiting.event->record;
      if (const api::KindInfo* kind = kind_of_key(record.key))
        return MetadataEvent{type_of(*waiting.event), kind, metadata_of(record, waiting.typed)};
    }
  }

  void on_events(std::span<const store::EventRef> events) override {
    std::vector<Waiting> batch;
    batch.reserve(events.size());
    for (const store::EventRef& event : events) batch.push_back({event, event->record->view()});
    events_.push_all(batch);
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
  std::string last_prefix_;                                // of last_kind_'s keys
  const api::KindInfo* last_kind_ = nullptr;
  std::vector<std::unique_ptr<store::Watch>> watches_;     // last: no event arrives once they are gone
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
  // The watch from before the lists: what changes between them is told twice, and nothing is missed.
  TRY(watch->start(store_, store_.revision()));
  for (const std::string& prefix : watch->prefixes()) {
    TRY_ASSIGN(store::Page page, store_.list(prefix, {}));
    for (const store::RecordRef& record : page.items)
      if (const api::KindInfo* kind = watch->kind_of_key(record->key))
        present({client::WatchEvent::Type::Added, kind, metadata_of(*record, record->view())});
  }
  return watch;
}

}  // namespace skiff::registry
