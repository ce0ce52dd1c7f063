#pragma once
// The value of every custom resource.

#include <string>

#include "api/descriptor.hpp"
#include "api/gen/meta.hpp"
#include "api/values.hpp"

namespace skiff::api {

struct CustomObject {
  ObjectMeta metadata;
  Raw rest;  // all but apiVersion, kind and metadata: {"spec":...,"status":...}; "" or "{}" when there is none

  bool operator==(const CustomObject&) const = default;
};

/// The fields of CustomObject, for the TypeInfo of each kind.
std::span<const FieldInfo> custom_object_fields();
const ObjectOps& custom_object_ops();

}  // namespace skiff::api
