#pragma once
// What differs between two objects of one type, as sets of fields: the input of managedFields.

#include <span>
#include <string_view>

#include "api/descriptor.hpp"
#include "api/field_set.hpp"

namespace skiff::api {

/// Leaves, and structs, maps and list elements that came or went as a whole.
struct FieldChanges {
  FieldSet added, removed, modified;
  bool empty() const { return added.empty() && removed.empty() && modified.empty(); }
};

/// Compares typed objects by their descriptors, without a document in between. Top-level fields in `ignored` and the
/// metadata that the system writes (name, uid, resourceVersion, managedFields, ...) are left out.
FieldChanges compare_objects(const TypeInfo& type, const void* old, const void* next,
                             std::span<const std::string_view> ignored);

/// Metadata that no manager owns.
bool is_system_metadata(std::string_view field);

}  // namespace skiff::api
