#include "store/record.hpp"

#include <string>

namespace skiff::store {

std::shared_ptr<const void> Record::set_view(std::shared_ptr<const void> view) const {
  auto held = std::make_unique<const std::shared_ptr<const void>>(std::move(view));
  const std::shared_ptr<const void>* expected = nullptr;
  if (view_.compare_exchange_strong(expected, held.get(), std::memory_order_acq_rel)) return *held.release();
  return *expected;
}

std::shared_ptr<Record> restamped(const Record& record, Revision revision) {
  auto copy = std::make_shared<Record>();
  copy->key = record.key;
  copy->value = record.value;
  if (record.revision_at)
    copy->value.replace(*record.revision_at, std::to_string(record.modified).size(),
                        std::to_string(revision));
  copy->created = record.created;
  copy->modified = revision;
  copy->revision_at = record.revision_at;
  copy->durable = record.durable;
  return copy;
}

}  // namespace skiff::store
