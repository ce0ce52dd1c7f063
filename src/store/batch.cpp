#include "store/batch.hpp"

#include <charconv>

#include "store/hub.hpp"

namespace skiff::store {

namespace {

// The version on disk under `record`, or null.
RecordRef stored_version(const RecordRef& record) {
  if (!record) return nullptr;
  return record->durable ? record : record->stored;
}

// Whether `write` may happen to `current` (null: no such key).
Status admit(const Write& write, const RecordRef& current) {
  if (write.kind == Write::Kind::Create) {
    if (current) return error(Code::AlreadyExists, "key '{}' already exists", write.key);
    return ok();
  }
  if (!current) return error(Code::NotFound, "key '{}' not found", write.key);
  if (write.expect && *write.expect != current->modified)
    return error(Code::Conflict, "key '{}' is at revision {}, not at {}", write.key, current->modified,
                 *write.expect);
  return ok();
}

std::shared_ptr<Record> new_version(const Write& write, const RecordRef& current, Revision revision) {
  auto record = std::make_shared<Record>();
  record->key = write.key;
  record->created = current ? current->created : revision;
  record->modified = revision;
  record->revision_at = write.revision_at;
  record->durable = write.durable;
  if (!write.durable) record->stored = stored_version(current);
  char digits[24];
  size_t size = 0;
  if (write.revision_at) {
    size = static_cast<size_t>(std::to_chars(digits, digits + sizeof digits, revision).ptr - digits);
  }
  size_t split = write.revision_at.value_or(write.value.size());
  record->value.reserve(write.value.size() + size);
  record->value.append(write.value, 0, split).append(digits, size).append(write.value, split);
  return record;
}

}  // namespace

RecordRef Batch::current(std::string_view key) const {
  auto changed = changes.find(key);
  return changed != changes.end() ? changed->second : index_.find(key);
}

void Batch::add(PendingWrite& pending) {
  const Write& write = pending.write;
  if (write.revision_at && *write.revision_at > write.value.size()) {
    pending.result =
        error(Code::Internal, "key '{}': no byte {} to put the revision at", write.key, *write.revision_at);
    return;
  }
  RecordRef before = current(write.key);
  if (Status admitted = admit(write, before); !admitted.ok()) {
    pending.result = std::move(admitted).error();
    return;
  }
  const Revision revision = ++disk.last;
  const RecordRef stored = stored_version(before);
  auto event = std::make_shared<Event>();
  event->revision = revision;
  event->previous = before;
  bool deletion = write.kind == Write::Kind::Delete;
  std::shared_ptr<Record> record =
      deletion ? restamped(*before, revision) : new_version(write, before, revision);
  // What is on disk must be deleted there; what never was has nothing to delete.
  if (deletion) record->durable = stored != nullptr;
  event->type = deletion ? Event::Type::Delete : Event::Type::Put;
  event->record = record;
  if (record->durable) {
    disk.changes.push_back({stored, deletion ? nullptr : event->record, revision});
  } else {
    disk.memory_only = true;
    disk.memory_directories.emplace(directory_of(write.key));
  }
  // The key of the change must live as long as the batch, also where the new record is null.
  changes[event->record->key] = deletion ? nullptr : event->record;
  pending.result = event->record;
  accepted.push_back(&pending);
  events.push_back(std::move(event));
}

void Batch::build_views() {
  for (size_t i = 0; i < accepted.size(); ++i)
    if (const Write& write = accepted[i]->write; write.view)
      views_.push_back(events[i]->record->set_view(write.view(events[i]->revision)));
}

}  // namespace skiff::store
