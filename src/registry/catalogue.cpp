#include "registry/catalogue.hpp"

#include <nlohmann/json.hpp>

#include "api/json.hpp"
#include "registry/object.hpp"

namespace skiff::registry {

namespace {

// As text in the order of the version's own schema, where it has one.
Result<std::string> written(const ServedKind& served, const nlohmann::json& object) {
  if (!served.has_own_type()) return object.dump();
  const api::TypeInfo& type = *served.kind->type;
  std::shared_ptr<void> value = type.ops->make();
  TRY(api::decode_document(object, type, value.get()));
  return api::encode_json(type, value.get());
}

}  // namespace

Result<std::string> in_version(const ServedKind& served, const std::string& json) {
  if (served.conversion == nullptr) return json;
  std::vector<nlohmann::json> objects(1);
  TRY_ASSIGN(objects[0], api::parse_json(json));
  TRY(served.conversion->from_stored(objects));
  return written(served, objects[0]);
}

Result<std::vector<std::string>> in_version(const ServedKind& served, const std::vector<Object>& objects) {
  std::vector<nlohmann::json> documents(objects.size());
  for (size_t i = 0; i < objects.size(); ++i) {
    TRY_ASSIGN(documents[i], api::parse_json(objects[i].json()));
  }
  if (served.conversion != nullptr) TRY(served.conversion->from_stored(documents));
  std::vector<std::string> texts(documents.size());
  for (size_t i = 0; i < documents.size(); ++i) {
    TRY_ASSIGN(texts[i], written(served, documents[i]));
  }
  return texts;
}

Catalogue::Catalogue(std::vector<const ServedKind*> served, std::uint64_t generation)
    : served_(std::move(served)), generation_(generation) {
  for (const ServedKind* one : served_) {
    by_name_.emplace(Name{one->kind->group, one->kind->version, one->kind->plural}, one);
    by_kind_name_.emplace(std::pair(one->kind->api_version(), std::string_view(one->kind->kind)), one);
    by_place_.emplace(std::pair(one->resource->kind->group, one->resource->kind->plural), one->resource);
    by_kind_.emplace(one->resource->kind, one->resource);
  }
}

const ServedKind* Catalogue::find(std::string_view group, std::string_view version, std::string_view plural) const {
  auto found = by_name_.find(Name{group, version, plural});
  return found == by_name_.end() ? nullptr : found->second;
}

const Resource* Catalogue::stored_as(std::string_view group, std::string_view plural) const {
  auto found = by_place_.find(std::pair(group, plural));
  return found == by_place_.end() ? nullptr : found->second;
}

const ServedKind* Catalogue::find_kind(std::string_view api_version, std::string_view kind) const {
  auto found = by_kind_name_.find(std::pair(std::string(api_version), kind));
  return found == by_kind_name_.end() ? nullptr : found->second;
}

const Resource* Catalogue::of(const api::KindInfo& kind) const {
  auto found = by_kind_.find(&kind);
  return found == by_kind_.end() ? nullptr : found->second;
}

}  // namespace skiff::registry
