#pragma once
// Objects as they travel through the process: immutable, shared, typed.

#include <memory>
#include <string>

#include "api/descriptor.hpp"
#include "api/gen/meta.hpp"

namespace skiff::client {

/// A shared, immutable object. Null means "there is none".
template <class T>
using Ref = std::shared_ptr<const T>;

/// Names one object of a kind. Cluster-scoped objects have an empty namespace.
struct ObjectKey {
  std::string namespace_;
  std::string name;

  std::string str() const { return namespace_.empty() ? name : namespace_ + "/" + name; }
  auto operator<=>(const ObjectKey&) const = default;
};

/// An object of any kind: its descriptor and the value, which is a struct of that descriptor's type.
class AnyRef {
 public:
  AnyRef() = default;
  AnyRef(const api::KindInfo& kind, std::shared_ptr<const void> value) : kind_(&kind), value_(std::move(value)) {}
  template <class T>
  AnyRef(Ref<T> value) : kind_(&api::kind_of<T>()), value_(std::move(value)) {}

  explicit operator bool() const { return value_ != nullptr; }
  const api::KindInfo& kind() const { return *kind_; }
  const void* get() const { return value_.get(); }
  const std::shared_ptr<const void>& shared() const { return value_; }

  /// Every kind's first field is its ObjectMeta (a test holds the schema to it for all resources that are stored).
  const api::ObjectMeta& metadata() const { return *static_cast<const api::ObjectMeta*>(value_.get()); }

  /// Null unless it is a T.
  template <class T>
  Ref<T> as() const {
    return kind_ == &api::kind_of<T>() ? std::static_pointer_cast<const T>(value_) : nullptr;
  }

 private:
  const api::KindInfo* kind_ = nullptr;
  std::shared_ptr<const void> value_;
};

inline ObjectKey key_of(const api::ObjectMeta& metadata) { return {metadata.namespace_, metadata.name}; }
template <class T>
ObjectKey key_of(const T& object) {
  return key_of(object.metadata);
}

/// The owner reference with controller: true, or null.
const api::OwnerReference* controller_of(const api::ObjectMeta& metadata);

/// An owner reference with controller and blockOwnerDeletion set (metav1.NewControllerRef).
template <class T>
api::OwnerReference controller_ref(const T& owner) {
  const api::KindInfo& kind = api::kind_of<T>();
  api::OwnerReference ref;
  ref.apiVersion = kind.api_version();
  ref.kind = kind.kind;
  ref.name = owner.metadata.name;
  ref.uid = owner.metadata.uid;
  ref.controller = true;
  ref.blockOwnerDeletion = true;
  return ref;
}

/// The resourceVersion as a number; 0 when it is empty or not a number.
std::int64_t revision_of(const api::ObjectMeta& metadata);

}  // namespace skiff::client
