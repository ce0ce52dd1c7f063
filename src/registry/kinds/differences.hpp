#pragma once

#include <string>

#include "api/json.hpp"

namespace skiff::registry {

/// The fields in which two values of a type differ, old (-) and new (+), for refusals of an update.
std::string difference(const api::TypeInfo& type, const void* old, const void* next);

template <class T>
std::string difference(const T& old, const T& next) {
  return difference(api::type_of<T>(), &old, &next);
}

}  // namespace skiff::registry
