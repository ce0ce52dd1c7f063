#include "api/presence.hpp"

#include "api/values.hpp"

namespace skiff::api {

bool is_absent(const FieldInfo& field, const void* member) {
  if (field.required) return false;
  if (field.shape != Shape::Plain) return field.ops->size(member) == 0;
  switch (field.value) {
    case ValueKind::String: return static_cast<const std::string*>(member)->empty();
    case ValueKind::Bool: return !*static_cast<const bool*>(member);
    case ValueKind::Int32: return *static_cast<const std::int32_t*>(member) == 0;
    case ValueKind::Int64: return *static_cast<const std::int64_t*>(member) == 0;
    case ValueKind::Double: return *static_cast<const double*>(member) == 0;
    case ValueKind::Bytes: return static_cast<const Bytes*>(member)->data.empty();
    case ValueKind::Time: return !*static_cast<const Time*>(member);
    case ValueKind::MicroTime: return !*static_cast<const MicroTime*>(member);
    case ValueKind::Raw: return static_cast<const Raw*>(member)->json.empty();
    case ValueKind::StringList:
    case ValueKind::Quantity:
    case ValueKind::IntOrString:
    case ValueKind::Struct: return false;
  }
  return false;
}

}  // namespace skiff::api
