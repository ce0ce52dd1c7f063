#include "api/defaults.hpp"


#include "api/default_rules.hpp"
#include "api/json.hpp"
#include "api/open_type.hpp"
#include "api/values.hpp"

namespace skiff::api {
namespace {

bool is_absent(const FieldInfo& field, const void* member) {
  if (field.shape != Shape::Plain) return field.ops->size(member) == 0;
  switch (field.value) {
    case ValueKind::String: return static_cast<const std::string*>(member)->empty();
    case ValueKind::Bool: return !*static_cast<const bool*>(member);
    case ValueKind::Int32: return *static_cast<const std::int32_t*>(member) == 0;
    case ValueKind::Int64: return *static_cast<const std::int64_t*>(member) == 0;
    case ValueKind::Double:
    case ValueKind::Bytes:
    case ValueKind::Time:
    case ValueKind::MicroTime:
    case ValueKind::Quantity:
    case ValueKind::IntOrString:
    case ValueKind::Raw:
    case ValueKind::Struct:
    case ValueKind::StringList: return false;
  }
  return false;
}

// One field's constant, decoded through the field's own struct: {"<name>": <default>}.
void fill(const TypeInfo& owner, const FieldInfo& field, void* object) {
  std::string document = "{\"" + std::string(field.name) + "\":" + field.default_json + "}";
  Status filled = decode_json(document, owner, object);
  if (!filled.ok()) std::abort();  // a constant of the schema; the unit test walks them all
}

void visit(const FieldInfo& field, void* member);

void default_struct(const TypeInfo& type, void* object) {
  for (const FieldInfo& field : type.fields) {
    void* member = field_at(object, field);
    if (*field.default_json && is_absent(field, member)) fill(type, field, object);
    if (field.type) visit(field, member);
  }
  if (DefaultRule rule = default_rule(type)) rule(object);
}

void visit(const FieldInfo& field, void* member) {
  const TypeInfo& type = field.type();
  switch (field.shape) {
    case Shape::Plain: return default_struct(type, member);
    case Shape::Optional:
    case Shape::List:
      // ContainerOps hand out const elements; the container itself is ours to change.
      for (size_t i = 0; i < field.ops->size(member); ++i)
        default_struct(type, const_cast<void*>(field.ops->at(member, i)));
      return;
    case Shape::Map:
      field.ops->each(member, [&](const std::string&, const void* value) {
        default_struct(type, const_cast<void*>(value));
      });
      return;
  }
}

}  // namespace

void apply_defaults(const TypeInfo& type, void* object) {
  default_struct(type, object);
  if (type.open) type.open->apply_defaults(object);
}

}  // namespace skiff::api
