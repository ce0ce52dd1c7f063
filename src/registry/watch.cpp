#include "registry/paging.hpp"
#include "registry/registry.hpp"
#include "registry/running_watches.hpp"

namespace skiff::registry {
namespace {

// Turns the store's events on a prefix into those of a query: with a selector, an object that begins to match was
// added and one that ceases to was deleted.
class FilteredWatch final : public ObjectWatch, public store::WatchSink {
 public:
  FilteredWatch(const Resource& resource, ListQuery query, EventSink& sink, RunningWatches& running)
      : resource_(resource), query_(std::move(query)), all_(selects_all(query_)), sink_(sink), running_(running) {}
  ~FilteredWatch() override { running_.remove(*resource_.kind, sink_); }

  Status start(store::Store& store, store::Revision after) {
    TRY_ASSIGN(watch_, store.watch(list_prefix(resource_, query_), after, *this));
    running_.add(*resource_.kind, sink_);
    return ok();
  }

  store::Revision progress() const override { return watch_->progress(); }

  void on_events(std::span<const store::EventRef> events) override {
    for (const store::EventRef& event : events) deliver(*event);
  }
  void on_closed(const Error& why) override { sink_.on_closed(why); }

 private:
  bool matched(const store::RecordRef& record) const {
    return record && (all_ || selects(resource_, query_, Object(*resource_.kind, record)));
  }

  void deliver(const store::Event& event) {
    bool before = matched(event.previous);
    bool now = event.type == store::Event::Type::Put && matched(event.record);
    if (event.type == store::Event::Type::Delete) before = matched(event.record);
    if (!before && !now) return;
    ObjectEvent out{ObjectEvent::Type::Modified, Object(*resource_.kind, event.record), event.revision};
    if (!before) {
      out.type = ObjectEvent::Type::Added;
    } else if (!now) {
      out.type = ObjectEvent::Type::Deleted;
      // Leaving the selection shows the last state that matched, at the revision of the change.
      if (event.type == store::Event::Type::Put)
        out.object = Object(*resource_.kind, store::restamped(*event.previous, event.revision));
    }
    sink_.on_event(out);
  }

  const Resource& resource_;
  const ListQuery query_;
  const bool all_;
  EventSink& sink_;
  RunningWatches& running_;
  std::unique_ptr<store::Watch> watch_;  // last: no event arrives once it is gone
};

}  // namespace

Result<std::unique_ptr<ObjectWatch>> Registry::watch(const Resource& resource, const ListQuery& query,
                                                     store::Revision after, EventSink& sink) const {
  TRY(check_fields(resource, query.fields));
  if (after > store_.revision()) return too_large(after, store_.revision());
  auto watch = std::make_unique<FilteredWatch>(resource, query, sink, *watches_);
  Status started = watch->start(store_, after);
  if (!started.ok() && started.error().code() == Code::Gone) return too_old(after, store_.compacted());
  TRY(std::move(started));
  return watch;
}

}  // namespace skiff::registry
