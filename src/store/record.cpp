#include "store/record.hpp"

#include <string>
#include <thread>

namespace skiff::store {

namespace {

// Held for the copy of a pointer only.
class Spin {
 public:
  explicit Spin(std::atomic_flag& busy) : busy_(busy) {
    while (busy_.test_and_set(std::memory_order_acquire)) std::this_thread::yield();
  }
  ~Spin() { busy_.clear(std::memory_order_release); }
  Spin(const Spin&) = delete;
  Spin& operator=(const Spin&) = delete;

 private:
  std::atomic_flag& busy_;
};

}  // namespace

std::shared_ptr<const void> Record::view() const {
  Spin spin(view_busy_);
  return view_.lock();
}

std::shared_ptr<const void> Record::set_view(std::shared_ptr<const void> view) const {
  Spin spin(view_busy_);
  if (std::shared_ptr<const void> first = view_.lock()) return first;
  view_ = view;
  return view;
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
