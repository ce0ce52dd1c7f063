#pragma once
// Selecting, paging and continuing lists.

#include <optional>
#include <string>

#include "registry/registry.hpp"

namespace skiff::registry {

/// A continue token says where a list goes on and at which revision (meta.k8s.io/v1's form, opaque to clients).
struct ContinueToken {
  store::Revision revision = 0;
  std::string after_key;  // below the resource's prefix
};
std::string encode_continue(const ContinueToken& token);
Result<ContinueToken> decode_continue(std::string_view text);

/// BadRequest when `fields` names one the resource cannot be selected by.
Status check_fields(const Resource& resource, const api::FieldSelector& fields);
bool selects(const Resource& resource, const ListQuery& query, const Object& object);
/// Whether `query` needs to look into objects at all.
bool selects_all(const ListQuery& query);

/// The part of the key space that `query` covers.
std::string list_prefix(const Resource& resource, const ListQuery& query);

/// 422 Invalid about the query itself, as a ListOptions.
Error invalid_list_options(const api::FieldErrors& errors);
/// 410 Expired, "too old resource version: 5 (12)".
Error too_old(store::Revision asked, store::Revision current);
/// 504 Timeout, "Timeout: Too large resource version: 12, current: 5".
Error too_large(store::Revision asked, store::Revision current);
/// The number in a resourceVersion parameter. BadRequest when it is none.
Result<store::Revision> parse_revision(const std::string& text);

}  // namespace skiff::registry
