#include "registry/catalogue.hpp"

#include <nlohmann/json.hpp>

#include "api/json.hpp"
#include "registry/object.hpp"

namespace skiff::registry {

Result<std::string> in_version(const ServedKind& served, const std::string& json) {
  if (served.conversion == nullptr) return json;
  std::vector<nlohmann::json> objects(1);
  TRY_ASSIGN(objects[0], api::parse_json(json));
  TRY(served.conversion->from_stored(objects));
  return objects[0].dump();
}

Result<std::vector<std::string>> in_version(const ServedKind& served, const std::vector<Object>& objects) {
  std::vector<nlohmann::json> documents(objects.size());
  for (size_t i = 0; i < objects.size(); ++i) {
    TRY_ASSIGN(documents[i], api::parse_json(objects[i].json()));
  }
  if (served.conversion != nullptr) TRY(served.conversion->from_stored(documents));
  std::vector<std::string> texts;
  texts.reserve(documents.size());
  for (const nlohmann::json& document : documents) texts.push_back(document.dump());
  return texts;
}

Catalogue::Catalogue(std::vector<const ServedKind*> served, std::uint64_t generation)
    : served_(std::move(served)), generation_(generation) {
  for (const ServedKind* one : served_) {
    by_name_.emplace(Name{one->kind->group, one->kind->version, one->kind->plural}, one);
    by_kind_name_.emplace(std::pair(one->kind->api_version(), std::string_view(one->kind->kind)), one);
    by_kind_.emplace(one->resource->kind, one->resource);
  }
}

const ServedKind* Catalogue::find(std::string_view group, std::string_view version, std::string_view plural) const {
  auto found = by_name_.find(Name{group, version, plural});
  return found == by_name_.end() ? nullptr : found->second;
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
