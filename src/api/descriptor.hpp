#pragma once
// What generic code knows about a generated type: one TypeInfo a struct, one FieldInfo a field, one KindInfo a
// kind. All are constants made by apigen from src/api/schema; pointers to them are identities.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace skiff::api {

struct TypeInfo;
struct KindInfo;
class OpenType;

enum class ValueKind : std::uint8_t {
  String, Bool, Int32, Int64, Double, Bytes, Time, MicroTime, Quantity, IntOrString, Raw, Struct,
  StringList,  // std::vector<std::string>, only as an element of a list or map
};

/// How the value is held: T, std::optional<T> (Box<T> for structs), std::vector<T>, std::map<std::string, T>.
enum class Shape : std::uint8_t { Plain, Optional, List, Map };

enum class ListType : std::uint8_t { Unset, Atomic, Set, Map };

/// Of a map, or of a struct where a field overrules the struct's own (TypeInfo::atomic).
enum class MapType : std::uint8_t { Unset, Atomic, Granular };

/// Access to an Optional, List or Map without knowing its element type. Elements are addressed as void*.
struct ContainerOps {
  std::size_t (*size)(const void* container);                     // Optional: 0 or 1
  const void* (*at)(const void* container, std::size_t index);    // List, Optional
  void* (*append)(void* container);                               // List: a new last one; Optional: emplaced
  void* (*insert)(void* container, std::string key);              // Map: the (new) value at key
  void (*each)(const void* container, const std::function<void(const std::string&, const void*)>& visit);  // Map
  void (*clear)(void* container);
};

struct FieldInfo {
  const char* name;             // in JSON
  std::uint16_t offset;         // of the member in its struct
  ValueKind value;
  Shape shape;
  bool required;                // without omitempty: always written
  ListType list_type;
  MapType map_type;
  const TypeInfo& (*type)();    // of a Struct value, else null
  const ContainerOps* ops;      // null for Plain
  const char* proto;            // field numbers, "2.5" when JSON inlines an embedded message; "0" unknown
  const char* list_keys;        // "containerPort,protocol" for ListType::Map
  const char* patch_strategy;   // "merge", "retainKeys", "merge,retainKeys" or ""
  const char* patch_merge_key;
  const char* enum_values;      // "Always,IfNotPresent,Never" or ""
  const char* default_json;     // what defaulting fills in when absent, or ""
  const char* schema_default;   // the default the published schema states, or ""
  const char* doc;
};

/// What generic code does with whole objects of a kind.
struct ObjectOps {
  std::shared_ptr<void> (*make)();
  std::shared_ptr<void> (*copy)(const void*);
  bool (*equal)(const void*, const void*);
};

struct TypeInfo {
  const char* name;             // of the C++ struct
  const char* openapi_name;     // "io.k8s.api.core.v1.Pod"
  const char* proto_name;       // "k8s.io.api.core.v1.Pod"
  const char* doc;
  bool atomic;                  // server-side apply replaces it whole
  std::span<const FieldInfo> fields;
  const KindInfo* kind;         // null unless it carries apiVersion and kind
  const ObjectOps* ops;         // null unless it has a kind
  const OpenType* open = nullptr;  // of a type whose members are not all in `fields` (open_type.hpp)
};

struct SubresourceInfo {
  const char* name;
  const char* api_version;      // of the object it exchanges; "" for the parent's own
  const char* kind;
  const char* verbs;            // space-separated
};

struct ColumnInfo {
  const char* name;
  const char* type;
  const char* format;
  bool wide;                    // priority 1
};

struct KindInfo {
  const char* group;            // "" for core
  const char* version;
  const char* kind;
  const char* plural;           // "" for kinds that are not resources (DeleteOptions, Scale)
  const char* singular;
  const char* short_names;      // space-separated
  const char* categories;       // space-separated
  const char* verbs;            // space-separated
  bool namespaced;
  std::span<const SubresourceInfo> subresources;
  std::span<const ColumnInfo> columns;
  const TypeInfo* type;

  std::string api_version() const {
    return *group ? std::string(group) + "/" + version : std::string(version);
  }
  bool is_resource() const { return *plural != '\0'; }
  bool has_subresource(std::string_view name) const {
    for (const SubresourceInfo& sub : subresources)
      if (name == sub.name) return true;
    return false;
  }
};

/// All kinds of the schema. Generated.
std::span<const KindInfo* const> all_kinds();
/// Null when there is none.
const KindInfo* find_kind(std::string_view api_version, std::string_view kind);
const KindInfo* find_resource(std::string_view group, std::string_view version, std::string_view plural);
/// Null when `type` has no such field.
const FieldInfo* find_field(const TypeInfo& type, std::string_view name);

/// The descriptor of a generated struct; specialised by generated code.
template <class T>
const TypeInfo& type_of();

template <class T>
const KindInfo& kind_of() {
  return *type_of<T>().kind;
}

inline const void* field_at(const void* object, const FieldInfo& field) {
  return static_cast<const char*>(object) + field.offset;
}
inline void* field_at(void* object, const FieldInfo& field) { return static_cast<char*>(object) + field.offset; }

}  // namespace skiff::api
