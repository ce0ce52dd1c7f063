#include "registry/crd_schema_rules.hpp"

#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "base/encoding.hpp"
#include "registry/schema_validation.hpp"
#include "registry/structural_schema.hpp"

namespace skiff::registry {
namespace {

using Json = nlohmann::json;

enum class Level { Root, Item, Field };

const Json* get(const Json& schema, const char* name) {
  if (!schema.is_object()) return nullptr;
  auto found = schema.find(name);
  return found == schema.end() || found->is_null() ? nullptr : &*found;
}
bool flag(const Json& schema, const char* name) {
  const Json* value = get(schema, name);
  return value && value->is_boolean() && value->get<bool>();
}
std::string text(const Json& schema, const char* name) {
  const Json* value = get(schema, name);
  return value && value->is_string() ? value->get<std::string>() : "";
}
std::string keyed(const std::string& path, const std::string& name) {
  return fmt::format("{}.properties[{}]", path, name);
}

template <class Visit>
void each_property(const Json& schema, Visit visit) {
  if (const Json* properties = get(schema, "properties"))
    for (const auto& [name, property] : properties->items()) visit(name, property);
}
template <class Visit>
void each_of(const Json& schema, const char* junctor, const std::string& path, Visit visit) {
  const Json* all = get(schema, junctor);
  if (!all || !all->is_array()) return;
  for (size_t i = 0; i < all->size(); ++i) visit((*all)[i], fmt::format("{}.{}[{}]", path, junctor, i));
}

// ---- rules of structural schemas

bool is_int_or_string(const Json* any_of) {
  static const Json kPattern = Json::parse(R"([{"type":"integer"},{"type":"string"}])");
  return any_of && *any_of == kPattern;
}

class Structural {
 public:
  explicit Structural(api::FieldErrors& errors) : errors_(errors) {}

  void check(const Json& schema, Level level, const std::string& path) {
    const Json* items = get(schema, "items");
    if (text(schema, "type") == "array" && !items) errors_.required(path + ".items", "must be specified");
    if (items) check(*items, Level::Item, path + ".items");
    each_property(schema, [&](const std::string& name, const Json& property) {
      check(property, Level::Field, keyed(path, name));
    });
    if (const Json* additional = get(schema, "additionalProperties")) {
      if (level == Level::Root) errors_.forbidden(path + ".additionalProperties", "must not be used at the root");
      if (additional->is_object()) check(*additional, Level::Field, path + ".additionalProperties");
    }
    check_extensions(schema, path);
    check_junctors(schema, is_int_or_string(get(schema, "anyOf")), first_all_of_is_int_or_string(schema), path);
    check_type(schema, level, path);
    check_metadata(schema, level, path);
  }

  // Every field that value validation speaks of is also specified outside of it.
  void check_completeness(const Json& validation, const Json* schema, const std::string& path,
                          const std::string& defined) {
    if (!schema) return errors_.required(path, "because it is defined in " + defined);
    for (const char* junctor : {"allOf", "anyOf", "oneOf"})
      each_of(validation, junctor, defined, [&](const Json& one, const std::string& where) {
        check_nested_completeness(one, schema, path, where);
      });
    if (const Json* negated = get(validation, "not"))
      check_nested_completeness(*negated, schema, path, defined + ".not");
  }

 private:
  void check_nested_completeness(const Json& nested, const Json* schema, const std::string& path,
                                 const std::string& defined) {
    if (!schema) return errors_.required(path, "because it is defined in " + defined);
    check_completeness(nested, schema, path, defined);
    if (const Json* items = get(nested, "items"))
      check_nested_completeness(*items, get(*schema, "items"), path + ".items", defined + ".items");
    each_property(nested, [&](const std::string& name, const Json& property) {
      const Json* properties = get(*schema, "properties");
      const Json* of = properties ? get(*properties, name.c_str()) : nullptr;
      check_nested_completeness(property, of, keyed(path, name), keyed(defined, name));
    });
  }

  static bool first_all_of_is_int_or_string(const Json& schema) {
    const Json* all = get(schema, "allOf");
    return all && all->is_array() && !all->empty() && is_int_or_string(get((*all)[0], "anyOf"));
  }

  void check_extensions(const Json& schema, const std::string& path) {
    if (!flag(schema, "x-kubernetes-int-or-string")) return;
    for (const char* other : {"x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"})
      if (flag(schema, other))
        errors_.invalid(path + "." + other, "true", "must be false if x-kubernetes-int-or-string is true");
  }

  void check_junctors(const Json& schema, bool skip_any_of, bool skip_first_all_of, const std::string& path) {
    if (!skip_any_of)
      each_of(schema, "anyOf", path, [&](const Json& one, const std::string& at) { check_nested(one, false, at); });
    bool first = true;
    each_of(schema, "allOf", path, [&](const Json& one, const std::string& at) {
      check_nested(one, skip_first_all_of && first, at);
      first = false;
    });
    each_of(schema, "oneOf", path, [&](const Json& one, const std::string& at) { check_nested(one, false, at); });
    if (const Json* negated = get(schema, "not")) check_nested(*negated, false, path + ".not");
    std::string pattern = text(schema, "pattern");
    RE2::Options quiet;
    quiet.set_log_errors(false);
    if (RE2 regex(pattern, quiet); !regex.ok())
      errors_.invalid(path + ".pattern", api::quote(pattern),
                      "must be a valid regular expression, but isn't: " + regex.error());
  }

  // A schema under a logical junctor may only validate values, not say what exists.
  void check_nested(const Json& nested, bool skip_any_of, const std::string& path) {
    check_junctors(nested, skip_any_of, false, path);
    if (const Json* items = get(nested, "items")) check_nested(*items, false, path + ".items");
    each_property(nested, [&](const std::string& name, const Json& property) {
      check_nested(property, false, keyed(path, name));
    });
    auto forbid = [&](const char* name, const char* why) { errors_.forbidden(path + "." + name, why); };
    if (!text(nested, "type").empty()) forbid("type", "must be empty to be structural");
    if (get(nested, "additionalProperties")) forbid("additionalProperties", "must be undefined to be structural");
    if (get(nested, "default")) forbid("default", "must be undefined to be structural");
    if (!text(nested, "title").empty()) forbid("title", "must be empty to be structural");
    if (!text(nested, "description").empty()) forbid("description", "must be empty to be structural");
    for (const char* name : {"nullable", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource",
                             "x-kubernetes-int-or-string"})
      if (flag(nested, name)) forbid(name, "must be false to be structural");
    if (get(nested, "x-kubernetes-list-map-keys"))
      forbid("x-kubernetes-list-map-keys", "must be empty to be structural");
    for (const char* name : {"x-kubernetes-list-type", "x-kubernetes-map-type"})
      if (get(nested, name)) forbid(name, "must be undefined to be structural");
    if (const Json* properties = get(nested, "properties"); properties && get(*properties, "metadata"))
      errors_.forbidden(keyed(path, "metadata"), "must not be specified in a nested context");
  }

  void check_type(const Json& schema, Level level, const std::string& path) {
    std::string type = text(schema, "type");
    bool embedded = flag(schema, "x-kubernetes-embedded-resource");
    bool untyped = flag(schema, "x-kubernetes-int-or-string") || flag(schema, "x-kubernetes-preserve-unknown-fields");
    const char* embedded_why = "must be object if x-kubernetes-embedded-resource is true";
    if (embedded && type.empty()) errors_.required(path + ".type", embedded_why);
    else if (embedded && type != "object") errors_.invalid(path + ".type", api::quote(type), embedded_why);
    else if (type.empty() && !untyped) errors_.required(path + ".type", missing_type(level));
    if (embedded && get(schema, "additionalProperties"))
      errors_.forbidden(path + ".additionalProperties",
                        "must not be used if x-kubernetes-embedded-resource is set");
    if (level == Level::Root && !type.empty() && type != "object")
      errors_.invalid(path + ".type", api::quote(type), "must be object at the root");
    const Json* properties = get(schema, "properties");
    if (embedded && !flag(schema, "x-kubernetes-preserve-unknown-fields") && (!properties || properties->empty()))
      errors_.required(path + ".properties",
                       "must not be empty if x-kubernetes-embedded-resource is true without "
                       "x-kubernetes-preserve-unknown-fields");
  }

  static const char* missing_type(Level level) {
    switch (level) {
      case Level::Root: return "must not be empty at the root";
      case Level::Item: return "must not be empty for specified array items";
      case Level::Field: return "must not be empty for specified object fields";
    }
    return "";
  }

  void check_metadata(const Json& schema, Level level, const std::string& path) {
    const Json* properties = get(schema, "properties");
    bool resource = level == Level::Root || flag(schema, "x-kubernetes-embedded-resource");
    if (!properties || !resource) return;
    struct Member {
      const char *name, *type;
    };
    for (const Member& one : {Member{"kind", "string"}, Member{"apiVersion", "string"}, Member{"metadata", "object"}}) {
      const Json* property = get(*properties, one.name);
      if (!property || text(*property, "type") == one.type) continue;
      errors_.invalid(keyed(path, one.name) + ".type", api::quote(text(*property, "type")),
                      fmt::format("must be {}", one.type));
    }
    const Json* metadata = get(*properties, "metadata");
    if (level != Level::Root || !metadata || only_names(*metadata)) return;
    errors_.forbidden(keyed(path, "metadata"),
                      "must not specify anything other than name and generateName, but metadata is implicitly "
                      "specified");
  }

  // Whether a schema of the metadata says no more than its type and how names look.
  static bool only_names(const Json& metadata) {
    static const std::set<std::string> kForbidden = {
        "additionalProperties", "title", "description", "nullable", "items", "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string", "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-validations"};
    for (const auto& [name, value] : metadata.items())
      if (kForbidden.contains(name)) return false;
    bool names = true;
    each_property(metadata, [&](const std::string& name, const Json&) {
      names = names && (name == "name" || name == "generateName");
    });
    return names;
  }

  api::FieldErrors& errors_;
};

// ---- rules of the OpenAPI dialect

class OpenApiRules {
 public:
  explicit OpenApiRules(api::FieldErrors& errors) : errors_(errors) {}

  /// `no_defaults`: why there may be none here, or "".
  void check(const Json& schema, const std::string& path, const std::string& no_defaults, bool root) {
    if (!schema.is_object()) return;
    check_known(schema, path, no_defaults);
    if (flag(schema, "uniqueItems"))
      errors_.forbidden(path + ".uniqueItems",
                        "uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
    const Json* properties = get(schema, "properties");
    if (const Json* additional = get(schema, "additionalProperties")) {
      bool exclusive = additional->is_object() || (additional->is_boolean() && !additional->get<bool>());
      if (properties && !properties->empty() && exclusive)
        errors_.forbidden(path + ".additionalProperties",
                          "additionalProperties and properties are mutual exclusive");
      check(*additional, path + ".additionalProperties", no_defaults, false);
    }
    each_property(schema, [&](const std::string& name, const Json& property) {
      bool meta = root && (name == "metadata" || name == "kind" || name == "apiVersion");
      check(property, keyed(path, name), meta ? "in top-level " + name : no_defaults, false);
    });
    for (const char* junctor : {"allOf", "anyOf", "oneOf"})
      each_of(schema, junctor, path,
              [&](const Json& one, const std::string& at) { check(one, at, no_defaults, false); });
    if (const Json* negated = get(schema, "not")) check(*negated, path + ".not", no_defaults, false);
    if (const Json* items = get(schema, "items")) check(*items, path + ".items", no_defaults, false);
    check_extensions(schema, path);
    check_rules(schema, path);
  }

 private:
  void check_known(const Json& schema, const std::string& path, const std::string& no_defaults) {
    static const std::vector<std::string> kTypes = {"array", "boolean", "integer", "number", "object", "string"};
    std::string type = text(schema, "type");
    if (!type.empty() && type != "null" && std::ranges::find(kTypes, type) == kTypes.end())
      errors_.not_supported(path + ".type", type, kTypes);
    if (get(schema, "default") && !no_defaults.empty())
      errors_.forbidden(path + ".default", "must not be set " + no_defaults);
    for (const char* name : {"id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"})
      if (get(schema, name)) errors_.forbidden(path + "." + name, fmt::format("{} is not supported", name));
    if (type == "null")
      errors_.forbidden(path + ".type", "type cannot be set to null, use nullable as an alternative");
    if (const Json* items = get(schema, "items"); items && items->is_array())
      errors_.forbidden(path + ".items", "items must be a schema object and not an array");
  }

  // `what` of type `wanted`, or an error that says why.
  void demand_type(const Json& schema, const std::string& path, const char* wanted, const std::string& why) {
    std::string type = text(schema, "type");
    if (type.empty()) errors_.required(path + ".type", why);
    else if (type != wanted) errors_.invalid(path + ".type", api::quote(type), why);
  }

  void check_extensions(const Json& schema, const std::string& path) {
    const Json* preserve = get(schema, "x-kubernetes-preserve-unknown-fields");
    if (preserve && preserve->is_boolean() && !preserve->get<bool>())
      errors_.invalid(path + ".x-kubernetes-preserve-unknown-fields", "false", "must be true or undefined");
    std::string map_type = text(schema, "x-kubernetes-map-type");
    if (!map_type.empty()) {
      if (text(schema, "type") != "object")
        demand_type(schema, path, "object", "must be object if x-kubernetes-map-type is specified");
      if (map_type != "atomic" && map_type != "granular")
        errors_.not_supported(path + ".x-kubernetes-map-type", map_type, {"atomic", "granular"});
    }
    std::string list_type = text(schema, "x-kubernetes-list-type");
    if (!list_type.empty()) check_list_type(schema, list_type, path);
    if (!get(schema, "x-kubernetes-list-map-keys")) return;
    const char* why = "must be map if x-kubernetes-list-map-keys is non-empty";
    if (list_type.empty()) errors_.required(path + ".x-kubernetes-list-type", why);
    else if (list_type != "map") errors_.invalid(path + ".x-kubernetes-list-type", api::quote(list_type), why);
  }

  void check_list_type(const Json& schema, const std::string& list_type, const std::string& path) {
    demand_type(schema, path, "array", "must be array if x-kubernetes-list-type is specified");
    if (list_type != "atomic" && list_type != "set" && list_type != "map")
      errors_.not_supported(path + ".x-kubernetes-list-type", list_type, {"atomic", "set", "map"});
    const Json* items = get(schema, "items");
    if (list_type == "set" && items) check_set_items(*items, path + ".items");
    if (list_type == "map") check_map_list(schema, items, path);
    if (items && list_type != "atomic" && flag(*items, "nullable"))
      errors_.forbidden(path + ".items.nullable", "cannot be nullable when x-kubernetes-list-type is " + list_type);
  }

  void check_set_items(const Json& items, const std::string& path) {
    const char* why = "must be atomic as item of a list with x-kubernetes-list-type=set";
    std::string type = text(items, "type");
    std::string list_type = text(items, "x-kubernetes-list-type"), map_type = text(items, "x-kubernetes-map-type");
    if (type == "array" && !list_type.empty() && list_type != "atomic")
      errors_.invalid(path + ".x-kubernetes-list-type", api::quote(list_type), why);
    if (type == "object" && map_type != "atomic")
      errors_.invalid(path + ".x-kubernetes-map-type", map_type.empty() ? "null" : api::quote(map_type), why);
  }

  void check_map_list(const Json& schema, const Json* items, const std::string& path) {
    const Json* keys = get(schema, "x-kubernetes-list-map-keys");
    if (!keys || keys->empty())
      errors_.required(path + ".x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map");
    if (!items)
      return errors_.required(path + ".items", "must have a schema if x-kubernetes-list-type is map");
    if (text(*items, "type") != "object")
      return errors_.invalid(path + ".items.type", api::quote(text(*items, "type")),
                             "must be object if parent array's x-kubernetes-list-type is map");
    std::set<std::string> seen;
    for (const Json& key : keys ? *keys : Json::array()) {
      if (!key.is_string()) continue;
      check_map_key(*keys, key.get<std::string>(), *items, path);
      if (!seen.insert(key.get<std::string>()).second)
        errors_.invalid(path + ".x-kubernetes-list-map-keys", keys->dump(), "must not contain duplicate entries");
    }
  }

  void check_map_key(const Json& keys, const std::string& key, const Json& items, const std::string& path) {
    const Json* properties = get(items, "properties");
    const Json* property = properties ? get(*properties, key.c_str()) : nullptr;
    if (!property)
      return errors_.invalid(path + ".x-kubernetes-list-map-keys", keys.dump(),
                             "entries must all be names of item properties");
    std::string at = keyed(path + ".items", key), type = text(*property, "type");
    if (type == "array" || type == "object")
      errors_.invalid(at + ".type", api::quote(text(items, "type")),
                      "must be a scalar type if parent array's x-kubernetes-list-type is map");
    const Json* required = get(items, "required");
    bool always = required && std::ranges::find(*required, Json(key)) != required->end();
    if (!always && !get(*property, "default"))
      errors_.required(at + ".default",
                       "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required "
                       "property");
    if (flag(*property, "nullable"))
      errors_.forbidden(at + ".nullable",
                        "this property is in x-kubernetes-list-map-keys, so it cannot be nullable");
  }

  void check_rules(const Json& schema, const std::string& path) {
    each_of(schema, "x-kubernetes-validations", path, [&](const Json& rule, const std::string& at) {
      std::string expression = text(rule, "rule"), message = text(rule, "message");
      bool blank = expression.find_first_not_of(" \t\r\n") == std::string::npos;
      if (blank) errors_.required(at + ".rule", "rule is not specified");
      else if (message.find_first_of("\r\n") != std::string::npos)
        errors_.invalid(at + ".message", api::quote(message), "message must not contain line breaks");
      static const std::vector<std::string> kReasons = {"FieldValueDuplicate", "FieldValueForbidden",
                                                        "FieldValueInvalid", "FieldValueRequired"};
      std::string reason = text(rule, "reason");
      if (!reason.empty() && std::ranges::find(kReasons, reason) == kReasons.end())
        errors_.not_supported(at + ".reason", reason, kReasons);
    });
  }

  api::FieldErrors& errors_;
};

// ---- defaults must themselves be what the schema asks for

void check_defaults(const Json& schema, const std::string& path, api::FieldErrors& errors) {
  if (const Json* value = get(schema, "default")) {
    Result<SchemaNode> node = compile_schema(schema);
    if (!node.ok()) return;
    Json pruned = {{"value", *value}};
    Json holder = {{"type", "object"}, {"properties", {{"value", schema}}}};
    Result<SchemaNode> around = compile_schema(holder);
    if (around.ok() && !prune(pruned, around.value()).empty())
      errors.invalid(path + ".default", printed(*value), "must not have unknown fields");
    api::FieldErrors found;
    validate_value(*value, nullptr, node.value(), found);
    for (api::FieldError one : found.all()) {
      one.field = one.field == "<nil>" ? path + ".default" : path + ".default." + one.field;
      errors.add(std::move(one));
    }
  }
  each_property(schema, [&](const std::string& name, const Json& property) {
    check_defaults(property, keyed(path, name), errors);
  });
  if (const Json* items = get(schema, "items")) check_defaults(*items, path + ".items", errors);
  if (const Json* additional = get(schema, "additionalProperties"))
    check_defaults(*additional, path + ".additionalProperties", errors);
}

void check_root_with_status(const Json& schema, const std::string& path, api::FieldErrors& errors) {
  static const std::set<std::string> kAllowed = {
      "description", "type", "format", "title", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum",
      "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "multipleOf", "required", "items",
      "properties", "externalDocs", "example", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations"};
  if (!text(schema, "type").empty() && text(schema, "type") != "object")
    return errors.invalid(path + ".type", api::quote(text(schema, "type")),
                          "only \"object\" is allowed as the type at the root of the schema if the status subresource "
                          "is enabled");
  for (const auto& [name, value] : schema.items()) {
    if (kAllowed.contains(name)) continue;
    return errors.invalid(path, schema.dump(),
                          "only [Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum "
                          "MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items "
                          "Properties ExternalDocs Example XPreserveUnknownFields XValidations] fields are allowed at "
                          "the root of the schema if the status subresource is enabled");
  }
}

}  // namespace

void validate_crd_schema(const Json& schema, const std::string& path, bool has_status, api::FieldErrors& errors) {
  if (has_status) check_root_with_status(schema, path, errors);
  if (flag(schema, "nullable")) errors.forbidden(path + ".nullable", "nullable cannot be true at the root");
  size_t before = errors.all().size();
  Structural structural(errors);
  structural.check(schema, Level::Root, path);
  structural.check_completeness(schema, &schema, path, path);
  bool sound = errors.all().size() == before;
  OpenApiRules(errors).check(schema, path, "", true);
  if (sound && errors.all().size() == before) check_defaults(schema, path, errors);
}

const Json* schema_at(const Json& schema, const std::string& path) {
  const Json* at = &schema;
  std::vector<std::string> steps = split(path, '.');
  for (size_t i = 1; i < steps.size(); ++i) {
    const Json* properties = get(*at, "properties");
    at = properties ? get(*properties, steps[i].c_str()) : nullptr;
    if (!at) return nullptr;
  }
  return steps.size() > 1 && steps[0].empty() ? at : nullptr;
}

}  // namespace skiff::registry
