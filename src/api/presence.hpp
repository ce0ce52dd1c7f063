#pragma once

#include "api/descriptor.hpp"

namespace skiff::api {

/// Whether JSON leaves the field out (omitempty). Structs held by value are always written, as Go does.
bool is_absent(const FieldInfo& field, const void* member);

}  // namespace skiff::api
