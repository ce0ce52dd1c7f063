#include "registry/local_client.hpp"

#include <deque>
#include <set>

#include "api/defaults.hpp"
#include "registry/paging.hpp"

namespace skiff::registry {
namespace {

constexpr size_t kMaxWaiting = 100'000;  // events of one informer before it must list again

Result<ListQuery> query_of(const client::ListOptions& options) {
  ListQuery query;
  query.namespace_ = options.namespace_;
  TRY_ASSIGN(query.labels, api::Selector::parse(options.label_selector));
  TRY_ASSIGN(query.fields, api::FieldSelector::parse(options.field_selector));
  return query;
}

class LocalWatch final : public client::Watch, public EventSink {
 public:
  explicit LocalWatch(Clock& clock) : clock_(clock) {}

  Status start(Registry& registry, const Resource& resource, const ListQuery& query, store::Revision after) {
    TRY_ASSIGN(watch_, registry.watch(resource, query, after, *this));
    return ok();
  }

  Result<client::WatchEvent> next(std::stop_token stop) override {
    MutexLock lock(mutex_);
    while (waiting_.empty() && !over_ && !stop.stop_requested()) clock_.wait(mutex_, changed_, stop);
    if (stop.stop_requested()) return Error(Code::Canceled, "watch stopped");
    if (waiting_.empty()) return *over_;
    ObjectEvent event = std::move(waiting_.front());
    waiting_.pop_front();
    return client::WatchEvent{type_of(event.type), event.object.any(), std::to_string(event.revision)};
  }

  void on_event(const ObjectEvent& event) override {
    MutexLock lock(mutex_);
    if (over_) return;
    if (waiting_.size() >= kMaxWaiting) {
      over_ = Error(Code::Expired, "watch fell behind");
      waiting_.clear();
    } else {
      waiting_.push_back(event);
    }
    changed_.notify_all();
  }
  void on_closed(const Error& why) override {
    MutexLock lock(mutex_);
    if (!over_) over_ = why;
    changed_.notify_all();
  }

 private:
  static client::WatchEvent::Type type_of(ObjectEvent::Type type) {
    switch (type) {
      case ObjectEvent::Type::Added: return client::WatchEvent::Type::Added;
      case ObjectEvent::Type::Modified: return client::WatchEvent::Type::Modified;
      case ObjectEvent::Type::Deleted: return client::WatchEvent::Type::Deleted;
    }
    return client::WatchEvent::Type::Modified;
  }

  Clock& clock_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<ObjectEvent> waiting_ GUARDED_BY(mutex_);
  std::optional<Error> over_ GUARDED_BY(mutex_);
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
