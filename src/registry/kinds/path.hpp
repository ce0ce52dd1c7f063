#pragma once
// Where a field stands in an object, as errors name it.

#include <cstddef>
#include <string>
#include <string_view>

namespace skiff::registry {

/// One step of a path ("containers[0]"), linked to the step above it. It lives on the caller's stack and becomes text
/// only when there is something to complain about: a valid object costs no strings. The step above must outlive it, so
/// steps cannot be taken from temporaries.
class Path {
 public:
  explicit Path(std::string_view name) : name_(name) {}

  Path child(std::string_view name) const& { return {this, name, kNone, {}, false}; }
  Path child(std::string_view name, size_t index) const& { return {this, name, index, {}, false}; }
  Path key(std::string_view name, std::string_view key) const& { return {this, name, kNone, key, true}; }
  Path child(std::string_view) const&& = delete;
  Path child(std::string_view, size_t) const&& = delete;
  Path key(std::string_view, std::string_view) const&& = delete;

  std::string text() const {
    std::string all = above_ ? above_->text() : std::string();
    if (!all.empty() && !name_.empty()) all += '.';
    all += name_;
    if (index_ != kNone) all += '[' + std::to_string(index_) + ']';
    if (keyed_) all.append("[").append(key_).append("]");
    return all;
  }
  operator std::string() const { return text(); }

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);
  Path(const Path* above, std::string_view name, size_t index, std::string_view key, bool keyed)
      : above_(above), name_(name), index_(index), key_(key), keyed_(keyed) {}

  const Path* above_ = nullptr;
  std::string_view name_;
  size_t index_ = kNone;
  std::string_view key_;
  bool keyed_ = false;
};

}  // namespace skiff::registry
