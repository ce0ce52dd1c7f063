#pragma once

#include <memory>
#include <utility>

namespace skiff::api {

/// An optional T on the heap with value semantics: copied deeply, compared by content. An absent one costs a
/// pointer, so that wide structs with few fields set (Volume has thirty sources) stay small.
template <class T>
class Box {
 public:
  Box() = default;
  Box(T value) : value_(new T(std::move(value))) {}
  Box(const Box& other) : value_(other.value_ ? new T(*other.value_) : nullptr) {}
  Box(Box&& other) noexcept = default;
  Box& operator=(Box other) noexcept {
    value_.swap(other.value_);
    return *this;
  }
  ~Box() = default;

  explicit operator bool() const { return value_ != nullptr; }
  bool has_value() const { return value_ != nullptr; }
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return value_.get(); }
  const T* operator->() const { return value_.get(); }
  const T* get() const { return value_.get(); }

  /// The present value, or a new default one.
  T& ensure() { return value_ ? *value_ : emplace(); }
  T& emplace() {
    value_.reset(new T());
    return *value_;
  }
  void reset() { value_.reset(); }

  friend bool operator==(const Box& a, const Box& b) {
    return (!a.value_ && !b.value_) || (a.value_ && b.value_ && *a.value_ == *b.value_);
  }

 private:
  std::unique_ptr<T> value_;
};

}  // namespace skiff::api
