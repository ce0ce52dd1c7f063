#include "store/past.hpp"

#include <unordered_map>

namespace skiff::store {

Overlay undo(std::span<const EventRef> events, Revision revision) {
  Overlay overlay;
  for (const EventRef& event : events)
    if (event->revision > revision)
      overlay.emplace(event->record->key, event->previous);  // the first one counts
  return overlay;
}

Overlay still_alive(std::span<const Superseded> superseded, Revision revision) {
  Overlay overlay;
  for (const Superseded& version : superseded)
    if (version.record->modified <= revision && revision < version.until)
      overlay.emplace(version.record->key, version.record);
  return overlay;
}

std::vector<RecordRef> state_at(const Index& index, std::string_view prefix, Revision revision,
                                const Overlay& overlay) {
  std::vector<RecordRef> records;
  auto changed = overlay.begin();
  auto take_changed = [&] {
    if (changed->second) records.push_back(changed->second);
    ++changed;
  };
  const Index::Position end = index.end_of(prefix);
  for (Index::Position at = index.lower_bound(prefix); at < end; at = index.next(at)) {
    const RecordRef& record = index.at(at);
    while (changed != overlay.end() && changed->first < record->key) take_changed();
    if (changed != overlay.end() && changed->first == record->key) {
      take_changed();
    } else if (record->modified <= revision) {
      records.push_back(record);
    } else if (record->stored && record->stored->modified <= revision) {
      records.push_back(record->stored);  // memory-only versions in between left no trace
    }
  }
  while (changed != overlay.end()) take_changed();
  return records;
}

namespace {

EventRef put(RecordRef record, RecordRef previous) {
  auto event = std::make_shared<Event>();
  event->type = Event::Type::Put;
  event->revision = record->modified;
  event->record = std::move(record);
  event->previous = std::move(previous);
  return event;
}

EventRef deletion(const Superseded& version) {
  auto event = std::make_shared<Event>();
  event->type = Event::Type::Delete;
  event->revision = version.until;
  event->record = restamped(*version.record, version.until);
  event->previous = version.record;
  return event;
}

}  // namespace

std::vector<EventRef> past_events(const Index& index, std::string_view prefix,
                                  std::span<const Superseded> superseded, Span span) {
  std::unordered_map<Revision, RecordRef> replaced_by;  // the revision of an update to the version before it
  for (const Superseded& version : superseded)
    if (!version.deleted) replaced_by[version.until] = version.record;

  std::map<Revision, EventRef> events;  // a version may be both in the index and, since, in the history
  auto add_put = [&](const RecordRef& record) {
    if (record->modified <= span.after || record->modified > span.until || !record->durable) return;
    auto previous = replaced_by.find(record->modified);
    events.emplace(record->modified, put(record, previous == replaced_by.end() ? nullptr : previous->second));
  };
  for (const Superseded& version : superseded) {
    add_put(version.record);
    if (version.deleted && version.until > span.after && version.until <= span.until)
      events.emplace(version.until, deletion(version));
  }
  const Index::Position end = index.end_of(prefix);
  for (Index::Position at = index.lower_bound(prefix); at < end; at = index.next(at)) {
    add_put(index.at(at));
    if (index.at(at)->stored) add_put(index.at(at)->stored);
  }
  std::vector<EventRef> in_order;
  in_order.reserve(events.size());
  for (auto& [revision, event] : events) in_order.push_back(std::move(event));
  return in_order;
}

}  // namespace skiff::store
