#include "api/custom_object.hpp"

#include <cstddef>

#include "api/container_ops.hpp"

// Conditionally supported by the standard, and by every compiler for structs without virtual bases.
#pragma GCC diagnostic ignored "-Winvalid-offsetof"

namespace skiff::api {

std::span<const FieldInfo> custom_object_fields() {
  static const FieldInfo kFields[] = {
      {.name = "metadata",
       .offset = offsetof(CustomObject, metadata),
       .value = ValueKind::Struct,
       .shape = Shape::Plain,
       .required = true,
       .list_type = ListType::Unset,
       .map_type = MapType::Unset,
       .type = &type_of<ObjectMeta>,
       .ops = nullptr,
       .proto = "0",
       .list_keys = "",
       .patch_strategy = "",
       .patch_merge_key = "",
       .enum_values = "",
       .default_json = "",
       .schema_default = "",
       .doc = ""},
      {.name = "",
       .offset = offsetof(CustomObject, rest),
       .value = ValueKind::Raw,
       .shape = Shape::Plain,
       .required = false,
       .list_type = ListType::Unset,
       .map_type = MapType::Unset,
       .type = nullptr,
       .ops = nullptr,
       .proto = "0",
       .list_keys = "",
       .patch_strategy = "",
       .patch_merge_key = "",
       .enum_values = "",
       .default_json = "",
       .schema_default = "",
       .doc = ""},
  };
  return kFields;
}

const ObjectOps& custom_object_ops() { return OpsOfKind<CustomObject>::kOps; }

}  // namespace skiff::api
