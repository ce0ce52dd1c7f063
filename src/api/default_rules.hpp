#pragma once

#include "api/descriptor.hpp"

namespace skiff::api {

/// Fills in what depends on other fields; the constants of the schema are there already.
using DefaultRule = void (*)(void* object);

/// Null when `type` has no such rule.
DefaultRule default_rule(const TypeInfo& type);

}  // namespace skiff::api
