// Pruning and defaulting by a structural schema.

#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/gen/meta.hpp"
#include "api/json.hpp"
#include "registry/structural_schema.hpp"

namespace skiff::registry {
namespace {

using Json = nlohmann::json;

bool is_meta(std::string_view name) { return name == "apiVersion" || name == "kind" || name == "metadata"; }

class Pruner {
 public:
  void value(Json& value, const SchemaNode* schema, bool resource) {
    if (schema && schema->preserve_unknown) return keep(value, *schema, resource);
    if (value.is_object()) return object(value, schema, resource);
    if (value.is_array())
      for (size_t i = 0; i < value.size(); ++i)
        within(fmt::format("[{}]", i), [&] { item(value[i], schema ? schema->items.get() : nullptr); });
  }

  std::vector<std::string> take() {
    std::ranges::sort(dropped_);
    return std::move(dropped_);
  }

 private:
  template <class Visit>
  void within(const std::string& step, Visit visit) {
    size_t length = path_.size();
    path_ += step;
    visit();
    path_.resize(length);
  }

  void item(Json& one, const SchemaNode* schema) { value(one, schema, schema && schema->embedded_resource); }

  void member(const std::string& name, Json& one, const SchemaNode* schema) {
    within(path_.empty() ? name : "." + name, [&] { item(one, schema); });
  }

  void object(Json& value, const SchemaNode* schema, bool resource) {
    if (resource && !path_.empty()) metadata(value);
    for (auto member_at = value.begin(); member_at != value.end();) {
      const std::string& name = member_at.key();
      if (resource && is_meta(name)) {
        ++member_at;
        continue;
      }
      const SchemaNode* of = schema ? property(*schema, name) : nullptr;
      if (of || (schema && schema->takes_additional)) {
        member(name, *member_at, of);
        ++member_at;
      } else {
        dropped_.push_back(path_.empty() ? name : path_ + "." + name);
        member_at = value.erase(member_at);
      }
    }
  }

  // Unknown members stay; known ones are pruned by their own schemas.
  void keep(Json& value, const SchemaNode& schema, bool resource) {
    if (value.is_array()) {
      for (size_t i = 0; i < value.size(); ++i)
        if (schema.items) within(fmt::format("[{}]", i), [&] { keep(value[i], *schema.items, false); });
      return;
    }
    if (!value.is_object()) return;
    if (resource && !path_.empty()) metadata(value);
    for (auto& [name, one] : value.items()) {
      if (resource && is_meta(name)) continue;
      if (const SchemaNode* of = property(schema, name)) member(name, one, of);
      else if (schema.takes_additional) member(name, one, nullptr);
    }
  }

  static const SchemaNode* property(const SchemaNode& schema, const std::string& name) {
    auto found = schema.properties.find(name);
    return found != schema.properties.end() ? &found->second : schema.additional.get();
  }

  // An embedded resource's metadata is ObjectMeta, whatever the schema says.
  void metadata(Json& resource) {
    auto found = resource.find("metadata");
    if (found == resource.end() || !found->is_object()) return;
    api::ObjectMeta decoded;
    api::DecodeReport report;
    Status read = api::decode_document(*found, api::type_of<api::ObjectMeta>(), &decoded, &report);
    if (!read.ok()) return;  // validation finds the reason
    for (const std::string& problem : report.strict) {
      size_t from = problem.find('"'), to = problem.rfind('"');
      if (problem.starts_with("unknown field"))
        dropped_.push_back(path_ + ".metadata." + problem.substr(from + 1, to - from - 1));
    }
    Result<Json> clean = api::parse_json(api::to_json(decoded));
    if (clean.ok()) *found = std::move(clean).value();
  }

  std::string path_;
  std::vector<std::string> dropped_;
};

bool wrongly_null(const Json& value, const SchemaNode* schema) {
  return value.is_null() && schema && !schema->nullable;
}

const SchemaNode* schema_of(const SchemaNode& parent, const std::string& name) {
  auto found = parent.properties.find(name);
  return found != parent.properties.end() ? &found->second : parent.additional.get();
}

// Nulls where none may be go, unless a default takes their place.
void drop_nulls(Json& value, const SchemaNode& schema) {
  if (value.is_array() && schema.items)
    for (Json& item : value) drop_nulls(item, *schema.items);
  if (!value.is_object()) return;
  for (auto at = value.begin(); at != value.end();) {
    const SchemaNode* of = schema_of(schema, at.key());
    if (of && wrongly_null(*at, of) && !of->default_value) {
      at = value.erase(at);
      continue;
    }
    if (of) drop_nulls(*at, *of);
    ++at;
  }
}

void fill(Json& value, const SchemaNode& schema) {
  if (!schema.defaults_below) return;
  if (value.is_array() && schema.items) {
    for (Json& item : value) {
      if (wrongly_null(item, schema.items.get()) && schema.items->default_value) item = *schema.items->default_value;
      fill(item, *schema.items);
    }
  }
  if (!value.is_object()) return;
  for (const auto& [name, property] : schema.properties) {
    if (!property.default_value) continue;
    auto found = value.find(name);
    if (found == value.end()) value[name] = *property.default_value;
    else if (wrongly_null(*found, &property)) *found = *property.default_value;
  }
  for (auto& [name, member] : value.items()) {
    const SchemaNode* of = schema_of(schema, name);
    if (!of) continue;
    if (wrongly_null(member, of) && of->default_value) member = *of->default_value;
    fill(member, *of);
  }
}

}  // namespace

std::vector<std::string> prune(Json& object, const SchemaNode& root) {
  Pruner pruner;
  pruner.value(object, &root, true);
  return pruner.take();
}

void apply_schema_defaults(Json& value, const SchemaNode& schema) {
  drop_nulls(value, schema);
  fill(value, schema);
}

}  // namespace skiff::registry
