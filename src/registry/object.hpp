#pragma once

#include "client/object.hpp"
#include "store/record.hpp"

namespace skiff::registry {

using client::AnyRef;
using client::ObjectKey;

/// A stored object: its bytes, serialised once, and its typed value, which lives as long as anybody uses it (informers
/// keep theirs) and is decoded anew after that. Cheap to copy, shared and immutable; any thread.
class Object {
 public:
  Object() = default;
  Object(const api::KindInfo& kind, store::RecordRef record, std::shared_ptr<const void> typed = nullptr)
      : kind_(&kind), record_(std::move(record)), typed_(std::move(typed)) {}

  explicit operator bool() const { return record_ != nullptr; }
  const api::KindInfo& kind() const { return *kind_; }
  const std::string& json() const { return record_->value; }
  const store::RecordRef& record() const { return record_; }
  /// The bytes under shared ownership, for answers that outlive this call.
  std::shared_ptr<const std::string> shared_json() const { return {record_, &record_->value}; }
  store::Revision revision() const { return record_->modified; }

  AnyRef any() const;
  client::Ref<api::ObjectMeta> metadata() const {
    AnyRef typed = any();
    return {typed.shared(), static_cast<const api::ObjectMeta*>(typed.get())};
  }

 private:
  const api::KindInfo* kind_ = nullptr;
  store::RecordRef record_;
  std::shared_ptr<const void> typed_;  // where it was at hand when this was made
};

}  // namespace skiff::registry
