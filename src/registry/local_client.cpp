#include "registry/local_client.hpp"

#include <set>

#include "api/defaults.hpp"
#include "registry/paging.hpp"
#include "registry/waiting_events.hpp"

namespace skiff::registry {
namespace {

Result<ListQuery> query_of(const client::ListOptions& options) {
  ListQuery query;
  query.namespace_ = options.namespace_;
  TRY_ASSIGN(query.labels, api::Selector::parse(options.label_selector));
  TRY_ASSIGN(query.fields, api::FieldSelector::parse(options.field_selector));
  return query;
}

class LocalWatch final : public client::Watch, public EventSink {
 public:
  explicit LocalWatch(Clock& clock) : events_(clock) {}

  Status start(Registry& registry, const Resource& resource, const ListQuery& query, store::Revision after) {
    TRY_ASSIGN(watch_, registry.watch(resource, query, after, *this));
    return ok();
  }

  Result<client::WatchEvent> next(std::stop_token stop) override {
    TRY_ASSIGN(Waiting waiting, events_.next(stop));
    return client::WatchEvent{type_of(waiting.event.type), waiting.event.object.any(), std::to_string(waiting.event.revision)};
  }

  // The typed value that the writer made is kept for the reader, who would have to decode it again.
  void on_event(const ObjectEvent& event) override { events_.push({event, event.object.record()->view()}); }
  void on_closed(const Error& why) override { events_.close(why); }

 private:
  struct Waiting {
    ObjectEvent event;
    std::shared_ptr<const void> typed;
  };

  static client::WatchEvent::Type type_of(ObjectEvent::Type type) {
    switch (type) {
      case ObjectEvent::Type::Added: return client::WatchEvent::Type::Added;
      case ObjectEvent::Type::Modified: return client::WatchEvent::Type::Modified;
      case ObjectEvent::Type::Deleted: return client::WatchEvent::Type::Deleted;
    }
    return client::WatchEvent::Type::Modified;
  }

  WaitingEvents<Waiting> events_;
  std::unique_ptr<ObjectWatch> watch_;  // last: no event arrives once it is gone
};

// Typed callers fill structs by hand, so defaults are applied here as decoding would.
Draft draft_of(const AnyRef& object) {
  Draft draft{&object.kind(), object.kind().type->ops->copy(object.get())};
  api::apply_defaults(*draft.kind->type, draft.value.get());
  return draft;
}

}  // namespace

RequestContext LocalClient::administrator() const {
  RequestContext context;
  context.user.name = "system:apiserver";
  context.user.groups = {"system:masters", "system:authenticated"};
  context.field_manager = manager_;
  context.force = true;  // controllers do not argue about fields
  return context;
}

Result<AnyRef> LocalClient::get(const api::KindInfo& kind, const ObjectKey& key) {
  TRY_ASSIGN(Object object, registry_.get(registry_.of(kind), key));
  return object.any();
}

Result<client::AnyList> LocalClient::list(const api::KindInfo& kind, const client::ListOptions& options) {
  TRY_ASSIGN(ListQuery query, query_of(options));
  TRY_ASSIGN(ListPage page, registry_.list(registry_.of(kind), query));
  client::AnyList list;
  list.resource_version = std::to_string(page.revision);
  list.items.reserve(page.items.size());
  for (const Object& object : page.items) list.items.push_back(object.any());
  return list;
}

Result<std::unique_ptr<client::Watch>> LocalClient::watch(const api::KindInfo& kind,
                                                          const client::ListOptions& options,
                                                          const std::string& resource_version) {
  TRY_ASSIGN(ListQuery query, query_of(options));
  TRY_ASSIGN(store::Revision after, parse_revision(resource_version));
  auto watch = std::make_unique<LocalWatch>(clock_);
  TRY(watch->start(registry_, registry_.of(kind), query, after));
  return watch;
}

Result<std::unique_ptr<client::MetadataWatch>> LocalClient::watch_metadata(
    const std::vector<const api::KindInfo*>& kinds, const std::function<void(const client::MetadataEvent&)>& present) {
  return registry_.watch_metadata(kinds, present);
}

Result<AnyRef> LocalClient::create(const AnyRef& object) {
  RequestContext context = administrator();
  const Resource& resource = registry_.of(object.kind());
  std::string namespace_ = object.metadata().namespace_;
  if (resource.kind->namespaced && namespace_.empty()) namespace_ = "default";
  TRY_ASSIGN(Object created, registry_.create(resource, namespace_, draft_of(object), context));
  return created.any();
}

Result<AnyRef> LocalClient::update(const AnyRef& object) {
  RequestContext context = administrator();
  TRY_ASSIGN(UpdateResult updated, registry_.update(registry_.of(object.kind()), client::key_of(object.metadata()),
                                                    draft_of(object), "", context));
  return updated.object.any();
}

Result<AnyRef> LocalClient::update_status(const AnyRef& object) {
  RequestContext context = administrator();
  TRY_ASSIGN(UpdateResult updated, registry_.update(registry_.of(object.kind()), client::key_of(object.metadata()),
                                                    draft_of(object), "status", context));
  return updated.object.any();
}

Result<AnyRef> LocalClient::patch(const api::KindInfo& kind, const ObjectKey& key, client::PatchType type,
                                  const std::string& body, const std::string& subresource) {
  RequestContext context = administrator();
  if (type == client::PatchType::Apply && subresource == "scale")
    return registry_.apply_scale(registry_.of(kind), key, body, context);
  if (type == client::PatchType::Apply) {
    TRY_ASSIGN(UpdateResult applied, registry_.apply(as_stored(registry_.of(kind)), key, body, subresource, context));
    return applied.object.any();
  }
  if (subresource == "scale") return registry_.patch_scale(registry_.of(kind), key, type, body, context);
  TRY_ASSIGN(Object patched, registry_.patch(as_stored(registry_.of(kind)), key, type, body, subresource, context));
  return patched.any();
}

Result<AnyRef> LocalClient::remove(const api::KindInfo& kind, const ObjectKey& key,
                                   const client::DeleteOptions& options) {
  RequestContext context = administrator();
  TRY_ASSIGN(Removal removal, registry_.remove(registry_.of(kind), key, options, context));
  return removal.object.any();
}

Result<AnyRef> LocalClient::create_subresource(const api::KindInfo& kind, const ObjectKey& key,
                                               const std::string& subresource, const AnyRef& object) {
  RequestContext context = administrator();
  return registry_.create_subresource(registry_.of(kind), key, subresource, draft_of(object), context);
}

std::vector<const api::KindInfo*> LocalClient::custom_kinds() {
  std::set<const api::KindInfo*> kinds;
  std::shared_ptr<const Catalogue> catalogue = registry_.catalogue();
  for (const ServedKind* served : catalogue->served())
    if (served->kind->type->open) kinds.insert(served->resource->kind);
  return {kinds.begin(), kinds.end()};
}

const api::KindInfo* LocalClient::find_kind(const std::string& api_version, const std::string& kind) {
  const ServedKind* served = registry_.catalogue()->find_kind(api_version, kind);
  return served ? served->resource->kind : nullptr;
}

}  // namespace skiff::registry
