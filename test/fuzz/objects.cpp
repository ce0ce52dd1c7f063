// Bodies, patches and selectors.

#include <nlohmann/json.hpp>

#include "api/defaults.hpp"
#include "api/field_set.hpp"
#include "api/gen/pod.hpp"
#include "api/json.hpp"
#include "api/merge.hpp"
#include "api/patch.hpp"
#include "api/protobuf.hpp"
#include "api/selector.hpp"
#include "api/values.hpp"
#include "api/versions.hpp"
#include "client/yaml.hpp"
#include "registry/paging.hpp"
#include "registry/structural_schema.hpp"
#include "targets.hpp"

namespace skiff::fuzz {
namespace {

using Json = nlohmann::json;

// A pod that decodes encodes to a text that decodes to the same, with and without defaults.
void json_request(std::string_view bytes) {
  api::Pod pod;
  api::DecodeReport report;
  if (!api::decode_json(bytes, api::type_of<api::Pod>(), &pod, &report).ok()) return;
  api::apply_defaults(api::type_of<api::Pod>(), &pod);
  Result<api::Pod> again = api::from_json<api::Pod>(api::to_json(pod));
  require(again.ok() && again.value() == pod, "a decoded pod survives encoding");
}

void protobuf_request(std::string_view bytes) {
  std::string body = std::string("k8s\0", 4) + std::string(bytes);
  Result<std::string> json = api::json_from_protobuf(body, api::type_of<api::Pod>());
  if (!json.ok()) return;
  api::Pod pod;
  (void)api::decode_json(json.value(), api::type_of<api::Pod>(), &pod).ok();
}

// Two JSON documents, separated by a line break.
struct Pair {
  Json first, second;
};
std::optional<Pair> pair_of(std::string_view bytes) {
  size_t middle = bytes.find('\n');
  if (middle == bytes.npos) return std::nullopt;
  Result<Json> first = api::parse_json(bytes.substr(0, middle));
  Result<Json> second = api::parse_json(bytes.substr(middle + 1));
  if (!first.ok() || !second.ok()) return std::nullopt;
  return Pair{std::move(first).value(), std::move(second).value()};
}

void strategic_merge(std::string_view bytes) {
  std::optional<Pair> pair = pair_of(bytes);
  if (!pair || !pair->first.is_object() || !pair->second.is_object()) return;
  (void)api::apply_strategic_patch(pair->first, pair->second, api::type_of<api::Pod>()).ok();
}

void json_patch(std::string_view bytes) {
  std::optional<Pair> pair = pair_of(bytes);
  if (!pair || !pair->second.is_array()) return;
  (void)api::apply_json_patch(pair->first, pair->second).ok();
}

void merge_patch(std::string_view bytes) {
  std::optional<Pair> pair = pair_of(bytes);
  if (!pair) return;
  Json once = api::apply_merge_patch(pair->first, pair->second);
  require(api::apply_merge_patch(once, pair->second) == once, "a merge patch applied twice is as applied once");
}

// Applying what is there already changes nothing.
void structured_merge(std::string_view bytes) {
  std::optional<Pair> pair = pair_of(bytes);
  if (!pair || !pair->first.is_object() || !pair->second.is_object()) return;
  api::MergeSchema schema = api::MergeSchema::of(api::type_of<api::Pod>());
  if (!api::schema_problems(pair->first, schema).empty() || !api::schema_problems(pair->second, schema).empty()) return;
  Json next = api::merged(pair->first, pair->second, schema);
  require(api::merged(next, pair->second, schema) == next, "applying twice is as applying once");
}

void field_set(std::string_view bytes) {
  if (!Json::accept(bytes)) return;  // it comes out of a document
  Result<api::FieldSet> set = api::FieldSet::parse(bytes);
  if (!set.ok()) return;
  Result<api::FieldSet> again = api::FieldSet::parse(set.value().json());
  require(again.ok() && again.value().json() == set.value().json(), "a field set survives its text");
}

void yaml(std::string_view bytes) {
  Result<std::string> json = client::json_from_yaml(bytes);
  if (json.ok()) require(Json::accept(json.value()), "YAML becomes JSON");
}

void label_selector(std::string_view bytes) {
  Result<api::Selector> selector = api::Selector::parse(bytes);
  if (!selector.ok()) return;
  Result<api::Selector> again = api::Selector::parse(selector.value().text());
  require(again.ok() && again.value().text() == selector.value().text(), "a selector survives its text");
}

void field_selector(std::string_view bytes) { (void)api::FieldSelector::parse(bytes).ok(); }

void continue_token(std::string_view bytes) {
  Result<registry::ContinueToken> token = registry::decode_continue(bytes);
  if (!token.ok()) return;
  Result<registry::ContinueToken> again = registry::decode_continue(registry::encode_continue(token.value()));
  require(again.ok() && again.value().after_key == token.value().after_key, "a continue token survives its text");
}

void other_version(std::string_view bytes) {
  if (bytes.empty()) return;
  std::span<const api::OtherVersion> all = api::other_versions();
  const api::OtherVersion& version = all[static_cast<unsigned char>(bytes[0]) % all.size()];
  Result<Json> document = api::parse_json(bytes.substr(1));
  if (!document.ok() || !document.value().is_object()) return;
  Json object = std::move(document).value();
  if (!api::to_stored_version(version, object).ok()) return;
  api::from_stored_version(version, object);
}

void structural_schema(std::string_view bytes) {
  std::optional<Pair> pair = pair_of(bytes);
  if (!pair || !pair->first.is_object()) return;
  Result<registry::SchemaNode> schema = registry::compile_schema(pair->first);
  if (!schema.ok()) return;
  registry::prune(pair->second, schema.value());
  registry::apply_schema_defaults(pair->second, schema.value());
  Json once = pair->second;
  require(registry::prune(pair->second, schema.value()).empty() && pair->second == once, "pruning twice is as once");
}

constexpr NamedTarget kTargets[] = {{"json_request", json_request},
                                    {"protobuf_request", protobuf_request},
                                    {"strategic_merge", strategic_merge},
                                    {"json_patch", json_patch},
                                    {"merge_patch", merge_patch},
                                    {"structured_merge", structured_merge},
                                    {"field_set", field_set},
                                    {"yaml", yaml},
                                    {"label_selector", label_selector},
                                    {"field_selector", field_selector},
                                    {"continue_token", continue_token},
                                    {"other_version", other_version},
                                    {"structural_schema", structural_schema}};

}  // namespace

std::span<const NamedTarget> object_targets() { return kTargets; }

}  // namespace skiff::fuzz
