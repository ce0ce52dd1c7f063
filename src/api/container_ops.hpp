#pragma once
// ContainerOps for each way a field can hold its values. Included by generated code only.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "api/box.hpp"
#include "api/descriptor.hpp"

namespace skiff::api {

template <class C>
struct OpsOf;

template <class T>
struct OpsOf<std::vector<T>> {
  using C = std::vector<T>;
  static constexpr ContainerOps kOps = {
      .size = [](const void* c) { return static_cast<const C*>(c)->size(); },
      .at = [](const void* c, std::size_t i) -> const void* { return &(*static_cast<const C*>(c))[i]; },
      .append = [](void* c) -> void* { return &static_cast<C*>(c)->emplace_back(); },
      .insert = nullptr,
      .each = nullptr,
      .clear = [](void* c) { static_cast<C*>(c)->clear(); },
  };
};

template <class T>
struct OpsOf<std::map<std::string, T>> {
  using C = std::map<std::string, T>;
  static constexpr ContainerOps kOps = {
      .size = [](const void* c) { return static_cast<const C*>(c)->size(); },
      .at = nullptr,
      .append = nullptr,
      .insert = [](void* c, std::string key) -> void* { return &(*static_cast<C*>(c))[std::move(key)]; },
      .each =
          [](const void* c, const std::function<void(const std::string&, const void*)>& visit) {
            for (const auto& [key, value] : *static_cast<const C*>(c)) visit(key, &value);
          },
      .clear = [](void* c) { static_cast<C*>(c)->clear(); },
  };
};

// std::optional<T> and Box<T>.
template <class C>
struct OpsOf {
  static constexpr ContainerOps kOps = {
      .size = [](const void* c) -> std::size_t { return static_cast<const C*>(c)->has_value() ? 1 : 0; },
      .at = [](const void* c, std::size_t) -> const void* { return &**static_cast<const C*>(c); },
      .append = [](void* c) -> void* { return &static_cast<C*>(c)->emplace(); },
      .insert = nullptr,
      .each = nullptr,
      .clear = [](void* c) { static_cast<C*>(c)->reset(); },
  };
};

template <class T>
struct OpsOfKind {
  static constexpr ObjectOps kOps = {
      // Not make_shared: what is referred to weakly (Record::view) would keep its memory when it is gone.
      .make = []() -> std::shared_ptr<void> { return std::shared_ptr<T>(new T()); },
      .copy = [](const void* from) -> std::shared_ptr<void> {
        return std::shared_ptr<T>(new T(*static_cast<const T*>(from)));
      },
      .equal = [](const void* a, const void* b) { return *static_cast<const T*>(a) == *static_cast<const T*>(b); },
  };
};

}  // namespace skiff::api
