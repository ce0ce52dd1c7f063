#include "api/descriptor.hpp"

#include <map>

namespace skiff::api {
namespace {

using Key = std::pair<std::string, std::string>;

const std::map<Key, const KindInfo*>& kinds_by_name() {
  static const auto kIndex = [] {
    std::map<Key, const KindInfo*> index;
    for (const KindInfo* kind : all_kinds()) index[{kind->api_version(), kind->kind}] = kind;
    return index;
  }();
  return kIndex;
}

const std::map<Key, const KindInfo*>& kinds_by_plural() {
  static const auto kIndex = [] {
    std::map<Key, const KindInfo*> index;
    for (const KindInfo* kind : all_kinds())
      if (kind->is_resource()) index[{kind->api_version(), kind->plural}] = kind;
    return index;
  }();
  return kIndex;
}

}  // namespace

const KindInfo* find_kind(std::string_view api_version, std::string_view kind) {
  auto found = kinds_by_name().find({std::string(api_version), std::string(kind)});
  return found == kinds_by_name().end() ? nullptr : found->second;
}

const KindInfo* find_resource(std::string_view group, std::string_view version, std::string_view plural) {
  std::string api_version = group.empty() ? std::string(version) : std::string(group) + "/" + std::string(version);
  auto found = kinds_by_plural().find({api_version, std::string(plural)});
  return found == kinds_by_plural().end() ? nullptr : found->second;
}

const FieldInfo* find_field(const TypeInfo& type, std::string_view name) {
  for (const FieldInfo& field : type.fields)
    if (name == field.name) return &field;
  return nullptr;
}

}  // namespace skiff::api
