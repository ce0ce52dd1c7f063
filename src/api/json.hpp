#pragma once
// JSON to and from any generated struct, by descriptor.

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/descriptor.hpp"
#include "base/error.hpp"

namespace skiff::api {

/// What decoding saw besides the fields.
struct DecodeReport {
  std::string api_version, kind;     // of the outermost object, empty when absent
  std::vector<std::string> strict;   // `unknown field "spec.foo"`, `duplicate field "spec.bar"`, in order
};

/// Bodies nested deeper are refused, so that no walk over one can exhaust a stack.
inline constexpr int kMaxDepth = 256;

/// Fills `into` (a default-constructed object of `type`). Unknown and duplicate fields are only reported (the last
/// duplicate wins); malformed text and wrong types are BadRequest with Go's wording:
/// "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type ...".
Status decode_json(std::string_view text, const TypeInfo& type, void* into, DecodeReport* report = nullptr);
/// The same from a document that is already parsed (a patched one, for example).
Status decode_document(const nlohmann::json& document, const TypeInfo& type, void* into, DecodeReport* report = nullptr);

/// Parses text that no descriptor describes. BadRequest when malformed or nested too deeply.
Result<nlohmann::json> parse_json(std::string_view text);

struct EncodeOptions {
  /// When set to the address of a string field of the object, that field is written with an empty value and
  /// `position` of the result says where the value belongs (the store splices the resourceVersion in).
  const std::string* splice = nullptr;
};
struct Encoded {
  std::string text;
  std::optional<std::size_t> position;
};

/// Compact JSON in descriptor order, maps sorted by key, apiVersion and kind first, as kube-apiserver writes it.
Encoded encode_json(const TypeInfo& type, const void* object, EncodeOptions options);
std::string encode_json(const TypeInfo& type, const void* object);

template <class T>
std::string to_json(const T& object) {
  return encode_json(type_of<T>(), &object);
}
template <class T>
Result<T> from_json(std::string_view text) {
  T object;
  TRY(decode_json(text, type_of<T>(), &object));
  return object;
}

/// The elements of a list document's "items", each as compact JSON.
Result<std::vector<std::string>> list_items(std::string_view text);

/// A list document's items, decoded.
template <class T>
Result<std::vector<T>> items_from_json(std::string_view text) {
  TRY_ASSIGN(std::vector<std::string> items, list_items(text));
  std::vector<T> decoded;
  for (const std::string& item : items) {
    TRY_ASSIGN(T one, from_json<T>(item));
    decoded.push_back(std::move(one));
  }
  return decoded;
}

/// `text` as a JSON string literal, quotes included.
void append_json_string(std::string& out, std::string_view text);

}  // namespace skiff::api
