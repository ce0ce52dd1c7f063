#pragma once
// The defaults that kube-apiserver writes while decoding (pkg/apis/*/v*/defaults.go).

#include "api/descriptor.hpp"

namespace skiff::api {

/// Fills what is absent: first each field's constant from the schema, then the rules that look at other fields, from
/// the innermost struct outwards. Idempotent. `object` is of `type`.
void apply_defaults(const TypeInfo& type, void* object);

template <class T>
void apply_defaults(T& object) {
  apply_defaults(type_of<T>(), &object);
}

/// Always for a tag of "latest" or none, IfNotPresent for another tag or a digest.
const char* default_pull_policy(std::string_view image);

}  // namespace skiff::api
