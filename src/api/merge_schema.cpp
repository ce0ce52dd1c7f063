#include "api/merge_schema.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/gen/meta.hpp"
#include "api/open_type.hpp"
#include "base/encoding.hpp"

namespace skiff::api {

using nlohmann::json;

namespace {

const json* find(const json& object, const char* name) {
  auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

std::string text_at(const json& schema, const char* name) {
  const json* value = find(schema, name);
  return value && value->is_string() ? value->get<std::string>() : "";
}

bool true_at(const json& schema, const char* name) {
  const json* value = find(schema, name);
  return value && value->is_boolean() && value->get<bool>();
}

}  // namespace

MergeSchema MergeSchema::of(const TypeInfo& type) {
  if (type.open) return custom(type.open->schema());
  MergeSchema schema;
  schema.type_ = &type;
  return schema;
}

MergeSchema MergeSchema::custom(const json* schema) {
  static const json kAnyObject = {{"type", "object"}, {"x-kubernetes-preserve-unknown-fields", true}};
  MergeSchema result = of_document(schema ? schema : &kAnyObject);
  result.root_ = true;
  return result;
}

MergeSchema MergeSchema::of_document(const json* document) {
  MergeSchema schema;
  if (document && document->is_object()) schema.document_ = document;
  return schema;
}

MergeSchema MergeSchema::of_field(const FieldInfo& field) {
  MergeSchema schema;
  bool holds_struct = field.value == ValueKind::Struct;
  if (holds_struct && (field.shape == Shape::Plain || field.shape == Shape::Optional)) {
    schema.type_ = &field.type();
    schema.granular_ = field.map_type == MapType::Granular;
  } else {
    schema.field_ = &field;
    schema.inside_ = field.shape == Shape::Plain || field.shape == Shape::Optional;
  }
  return schema;
}

MergeRule MergeSchema::rule(const json& value) const {
  if (!value.is_object() && !value.is_array()) return MergeRule::Leaf;
  if (type_) return value.is_object() && (granular_ || !type_->atomic) ? MergeRule::Fields : MergeRule::Leaf;
  if (is_map()) return value.is_object() && field_->map_type != MapType::Atomic ? MergeRule::Fields : MergeRule::Leaf;
  if (is_list() && value.is_array()) {
    if (field_->list_type == ListType::Set) return MergeRule::Set;
    return field_->list_type == ListType::Map ? MergeRule::Keyed : MergeRule::Leaf;
  }
  if (field_) return MergeRule::Leaf;
  if (document_) return document_rule(value);
  return value.is_object() ? MergeRule::Fields : MergeRule::Leaf;
}

MergeRule MergeSchema::document_rule(const json& value) const {
  if (value.is_object()) return text_at(*document_, "x-kubernetes-map-type") == "atomic" ? MergeRule::Leaf : MergeRule::Fields;
  std::string list = text_at(*document_, "x-kubernetes-list-type");
  if (list == "set") return MergeRule::Set;
  return list == "map" ? MergeRule::Keyed : MergeRule::Leaf;
}

MergeSchema MergeSchema::element() const {
  if (is_list() || is_map()) {
    MergeSchema schema;
    if (field_->value == ValueKind::Struct) {
      schema.type_ = &field_->type();
    } else {
      schema.field_ = field_;
      schema.inside_ = true;
    }
    return schema;
  }
  return document_ ? of_document(find(*document_, "items")) : MergeSchema();
}

bool MergeSchema::preserves_unknown() const {
  return true_at(*document_, "x-kubernetes-preserve-unknown-fields") || true_at(*document_, "x-kubernetes-embedded-resource");
}

MergeSchema MergeSchema::member(const std::string& name) const {
  if (type_) {
    const FieldInfo* field = find_field(*type_, name);
    return field ? of_field(*field) : MergeSchema();
  }
  if (is_map()) return element();
  if (!document_) return {};
  bool whole = root_ || true_at(*document_, "x-kubernetes-embedded-resource");
  if (whole && name == "metadata") return of(type_of<ObjectMeta>());
  if (const json* properties = find(*document_, "properties"); properties && properties->is_object())
    if (const json* schema = find(*properties, name.c_str())) return of_document(schema);
  if (const json* rest = find(*document_, "additionalProperties")) return of_document(rest);
  return {};
}

bool MergeSchema::declares(const std::string& name) const {
  if (type_) return find_field(*type_, name) || (type_->kind && (name == "apiVersion" || name == "kind"));
  if (!document_) return false;
  if (root_ && (name == "apiVersion" || name == "kind" || name == "metadata")) return true;
  const json* properties = find(*document_, "properties");
  return properties && properties->contains(name);
}

bool MergeSchema::allows(const std::string& name) const {
  if (type_) return declares(name);
  if (!document_ || declares(name)) return true;
  const json* rest = find(*document_, "additionalProperties");
  if (rest && !(rest->is_boolean() && !rest->get<bool>())) return true;
  return preserves_unknown() || wants() == Wants::Anything;
}

std::vector<MergeSchema::Key> MergeSchema::keys() const {
  std::vector<Key> keys;
  if (is_list()) {
    for (std::string& name : split(field_->list_keys, ',')) {
      const FieldInfo* field = field_->value == ValueKind::Struct ? find_field(field_->type(), name) : nullptr;
      std::string fallback = !field ? "" : *field->schema_default ? field->schema_default : field->default_json;
      keys.push_back({std::move(name), std::move(fallback)});
    }
  } else if (document_) {
    const json* names = find(*document_, "x-kubernetes-list-map-keys");
    const json* items = find(*document_, "items");
    const json* properties = items && items->is_object() ? find(*items, "properties") : nullptr;
    for (const json& name : names && names->is_array() ? *names : json::array()) {
      if (!name.is_string()) continue;
      Key key{name.get<std::string>(), ""};
      const json* property = properties ? find(*properties, key.name.c_str()) : nullptr;
      if (const json* fallback = property ? find(*property, "default") : nullptr) key.fallback = fallback->dump();
      keys.push_back(std::move(key));
    }
  }
  std::ranges::sort(keys, {}, &Key::name);
  return keys;
}

MergeSchema::Wants MergeSchema::wants() const {
  if (type_ || is_map()) return Wants::Map;
  if (is_list()) return Wants::List;
  if (field_) {
    switch (field_->value) {
      case ValueKind::String: case ValueKind::Bytes: case ValueKind::Time: case ValueKind::MicroTime: return Wants::Text;
      case ValueKind::Bool: return Wants::Truth;
      case ValueKind::Int32: case ValueKind::Int64: case ValueKind::Double: return Wants::Number;
      case ValueKind::StringList: return Wants::List;
      default: return Wants::Anything;
    }
  }
  if (!document_ || true_at(*document_, "x-kubernetes-int-or-string")) return Wants::Anything;
  std::string type = text_at(*document_, "type");
  if (type == "object") return Wants::Map;
  if (type == "array") return Wants::List;
  if (type == "string") return Wants::Text;
  if (type == "boolean") return Wants::Truth;
  return type == "integer" || type == "number" ? Wants::Number : Wants::Anything;
}

std::string MergeSchema::mismatch(const json& value) const {
  if (value.is_null()) return "";
  auto expected = [&](const char* what) { return fmt::format("expected {}, got {}", what, value.dump()); };
  switch (wants()) {
    case Wants::Anything: return "";
    case Wants::Text: return value.is_string() ? "" : expected("string");
    case Wants::Number: return value.is_number() ? "" : expected("numeric (int or float)");
    case Wants::Truth: return value.is_boolean() ? "" : expected("boolean");
    case Wants::List: return value.is_array() ? "" : expected("list");
    case Wants::Map: return value.is_object() ? "" : expected("map");
  }
  return "";
}

}  // namespace skiff::api
