#include "registry/schema_validation.hpp"

#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/encoding.hpp"

namespace skiff::registry {
namespace {

using Json = nlohmann::json;
using Type = api::FieldError::Type;

// Go's %v of a float64.
std::string go_number(double value) {
  double magnitude = std::abs(value);
  if (value == 0 || (magnitude >= 1e-4 && magnitude < 1e21)) {
    if (value == std::trunc(value)) return fmt::format("{:.0f}", value);
    return fmt::format("{}", value);
  }
  std::string text = fmt::format("{:e}", value);
  size_t exponent = text.find('e');
  while (exponent > 0 && text[exponent - 1] == '0') text.erase(--exponent, 1);
  if (exponent > 0 && text[exponent - 1] == '.') text.erase(exponent - 1, 1);
  return text;
}

const char* type_name(const Json& value) {
  if (value.is_null()) return "null";
  if (value.is_boolean()) return "boolean";
  if (value.is_string()) return "string";
  if (value.is_array()) return "array";
  if (value.is_object()) return "object";
  return value.is_number_float() ? "number" : "integer";
}

bool is_whole(const Json& value) {
  double number = value.get<double>();
  return number == std::trunc(number) && std::abs(number) < 9007199254740992.0;
}

bool has_type(const std::vector<std::string>& types, const Json& value) {
  std::string name = type_name(value);
  return std::ranges::any_of(types, [&](const std::string& type) {
    if (type == name) return true;
    if (type == "number") return name == "integer";
    return type == "integer" && name == "number" && is_whole(value);
  });
}

size_t characters(const std::string& text) {
  return static_cast<size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

/// Problems found, and how many checks a value passed: of several alternatives the one it came closest to explains
/// best why none fits.
struct Findings {
  std::vector<api::FieldError> errors;
  int passed = 0;

  bool none() const { return errors.empty(); }
  void add(Findings other) {
    std::move(other.errors.begin(), other.errors.end(), std::back_inserter(errors));
    passed += other.passed;
  }
};

class Validator {
 public:
  Findings run(const Json& value, const Json* old, const SchemaNode& schema, const std::string& path) {
    Findings found;
    if (old && *old == value) return found;
    check(value, old, schema, path, found);
    return found;
  }

 private:
  void check(const Json& value, const Json* old, const SchemaNode& schema, const std::string& path, Findings& found) {
    size_t before = found.errors.size();
    check_type(value, schema, path, found);
    if (!value.is_null()) {
      check_alternatives(value, old, schema, path, found);
      if (value.is_string()) check_string(value, schema, path, found);
      if (value.is_number()) check_number(value, schema, path, found);
      if (value.is_array()) check_array(value, old, schema, path, found);
    }
    check_enum(value, schema, path, found);
    if (value.is_object()) check_object(value, old, schema, path, found);
    if (found.errors.size() == before) ++found.passed;
  }

  // `field` of the error: the path without the point that stands before members of the root.
  static std::string field(const std::string& path) {
    if (path.empty()) return "<nil>";
    return path.front() == '.' ? path.substr(1) : path;
  }
  static void add(Findings& found, Type type, const std::string& path, std::string message) {
    found.errors.push_back({type, field(path), std::move(message)});
  }
  static void invalid(Findings& found, const std::string& path, const std::string& value, const std::string& rest) {
    add(found, Type::Invalid, path, fmt::format("Invalid value: {}: {} in body {}", value, path, rest));
  }
  // Problems of a value as a whole carry no field in kube-apiserver either.
  static void composite(Findings& found, std::string message) {
    found.errors.push_back({Type::Invalid, "<nil>", "Invalid value: \"\": " + std::move(message)});
  }

  void check_type(const Json& value, const SchemaNode& schema, const std::string& path, Findings& found) {
    if (schema.types.empty() || has_type(schema.types, value) || (value.is_null() && schema.nullable)) {
      ++found.passed;
      return;
    }
    std::string seen = type_name(value);
    std::string wanted = join(schema.types, ",");
    if (!schema.format.empty() && (value.is_object() || value.is_boolean() || value.is_number())) {
      wanted = schema.format;
      seen = value.is_number_float() ? "float64" : value.is_number() ? "int64" : "";
    }
    add(found, Type::TypeInvalid, path,
        fmt::format("Invalid value: {}: {} in body must be of type {}: {}", api::quote(seen), path, wanted,
                    api::quote(seen)));
  }

  void check_string(const Json& value, const SchemaNode& schema, const std::string& path, Findings& found) {
    const std::string& text = value.get_ref<const std::string&>();
    size_t length = schema.max_length || schema.min_length ? characters(text) : 0;
    if (schema.max_length && static_cast<std::int64_t>(length) > *schema.max_length)
      add(found, Type::TooLong, path, fmt::format("Too long: may not be more than {} bytes", *schema.max_length));
    if (schema.min_length && static_cast<std::int64_t>(length) < *schema.min_length)
      invalid(found, path, printed(value), fmt::format("should be at least {} chars long", *schema.min_length));
    if (schema.regex && !RE2::PartialMatch(text, *schema.regex))
      invalid(found, path, printed(value), fmt::format("should match '{}'", schema.pattern));
    if (!schema.format.empty() && !schema.int_or_string && !has_format(schema.format, text))
      add(found, Type::TypeInvalid, path,
          fmt::format("Invalid value: {}: {} in body must be of type {}: {}", printed(value), path, schema.format,
                      printed(value)));
  }

  void check_range(const Json& value, const SchemaNode& schema, const std::string& path, Findings& found) {
    bool integer = std::ranges::find(schema.types, "integer") != schema.types.end();
    double number = value.get<double>();
    bool fits = schema.format == "int32" ? number >= -2147483648.0 && number <= 2147483647.0
                                         : number >= -9223372036854775808.0 && number < 9223372036854775808.0;
    if (!integer || fits) return;
    std::string kind = schema.format.empty() ? "(default format)" : "with format " + schema.format;
    composite(found, fmt::format("Checked value must be of type integer {} in {}", kind, path));
  }

  void check_number(const Json& value, const SchemaNode& schema, const std::string& path, Findings& found) {
    check_range(value, schema, path, found);
    double number = value.get<double>();
    if (schema.multiple_of && *schema.multiple_of > 0) {
      double quotient = number / *schema.multiple_of;
      if (quotient != std::trunc(quotient))
        invalid(found, path, printed(value), "should be a multiple of " + go_number(*schema.multiple_of));
    }
    if (schema.maximum && (number > *schema.maximum || (schema.exclusive_maximum && number == *schema.maximum)))
      invalid(found, path, printed(value),
              fmt::format("should be less than {}{}", schema.exclusive_maximum ? "" : "or equal to ",
                          go_number(*schema.maximum)));
    if (schema.minimum && (number < *schema.minimum || (schema.exclusive_minimum && number == *schema.minimum)))
      invalid(found, path, printed(value),
              fmt::format("should be greater than {}{}", schema.exclusive_minimum ? "" : "or equal to ",
                          go_number(*schema.minimum)));
  }

  void check_enum(const Json& value, const SchemaNode& schema, const std::string& path, Findings& found) {
    if (!schema.enum_values) return;
    if (std::ranges::find(*schema.enum_values, value) != schema.enum_values->end()) {
      ++found.passed;
      return;
    }
    std::vector<std::string> supported;
    for (const Json& one : *schema.enum_values)
      supported.push_back(api::quote(one.is_string() ? one.get<std::string>() : one.dump()));
    add(found, Type::NotSupported, path,
        fmt::format("Unsupported value: {}: supported values: {}", printed(value), join(supported, ", ")));
  }

  void check_array(const Json& value, const Json* old, const SchemaNode& schema, const std::string& path,
                   Findings& found) {
    if (schema.items)
      for (size_t i = 0; i < value.size(); ++i)
        found.add(run(value[i], correlated(value[i], old, schema), *schema.items, fmt::format("{}[{}]", path, i)));
    auto size = static_cast<std::int64_t>(value.size());
    if (schema.min_items && size < *schema.min_items)
      invalid(found, path, std::to_string(size), fmt::format("should have at least {} items", *schema.min_items));
    if (schema.max_items && size > *schema.max_items)
      add(found, Type::TooMany, path,
          fmt::format("Too many: {}: must have at most {} items", size, *schema.max_items));
  }

  // The old item with the same keys; items of other lists are nobody's successors.
  static const Json* correlated(const Json& item, const Json* old, const SchemaNode& schema) {
    if (!old || !old->is_array() || schema.list_type != api::ListType::Map || !item.is_object()) return nullptr;
    for (const Json& candidate : *old) {
      bool same = candidate.is_object() && std::ranges::all_of(schema.list_keys, [&](const std::string& key) {
        return candidate.value(key, Json()) == item.value(key, Json());
      });
      if (same) return &candidate;
    }
    return nullptr;
  }

  static const Json* old_member(const Json* old, const std::string& name) {
    if (!old || !old->is_object()) return nullptr;
    auto found = old->find(name);
    return found == old->end() ? nullptr : &*found;
  }

  void check_object(const Json& value, const Json* old, const SchemaNode& schema, const std::string& path,
                    Findings& found) {
    auto size = static_cast<std::int64_t>(value.size());
    if (schema.min_properties && size < *schema.min_properties)
      return invalid(found, path, std::to_string(size),
                     fmt::format("should have at least {} properties", *schema.min_properties));
    if (schema.max_properties && size > *schema.max_properties)
      return add(found, Type::TooMany, path,
                 fmt::format("Too many: {}: must have at most {} items", size, *schema.max_properties));
    for (const auto& [name, member] : value.items()) {
      auto property = schema.properties.find(name);
      if (property != schema.properties.end())
        found.add(run(member, old_member(old, name), property->second, path.empty() ? name : path + "." + name));
      else if (schema.additional)
        found.add(run(member, old_member(old, name), *schema.additional, path + "." + name));
      else if (schema.refuses_additional)
        add(found, Type::Invalid, path,
            fmt::format("Invalid value: {}: {}.{} in body is a forbidden property", api::quote(name), path, name));
    }
    for (const std::string& name : schema.required)
      if (!value.contains(name)) add(found, Type::Required, path + "." + name, "Required value");
  }

  void check_alternatives(const Json& value, const Json* old, const SchemaNode& schema, const std::string& path,
                          Findings& found) {
    if (!schema.any_of.empty()) check_any(value, old, schema, path, found);
    if (!schema.one_of.empty()) check_one(value, old, schema, path, found);
    if (!schema.all_of.empty()) check_all(value, old, schema, path, found);
    if (schema.not_ && run(value, nullptr, *schema.not_, path).none())
      composite(found, fmt::format("{} must not validate the schema (not)", api::quote(path)));
  }

  void check_any(const Json& value, const Json* old, const SchemaNode& schema, const std::string& path,
                 Findings& found) {
    std::optional<Findings> best;
    for (const SchemaNode& one : schema.any_of) {
      Findings result = run(value, old, one, path);
      if (result.none()) {
        found.passed += result.passed;
        return;
      }
      if (!best || result.passed > best->passed) best = std::move(result);
    }
    composite(found, fmt::format("{} must validate at least one schema (anyOf)", api::quote(path)));
    found.add(std::move(*best));
  }

  void check_one(const Json& value, const Json* old, const SchemaNode& schema, const std::string& path,
                 Findings& found) {
    std::optional<Findings> best;
    int valid = 0;
    for (const SchemaNode& one : schema.one_of) {
      Findings result = run(value, old, one, path);
      if (result.none()) ++valid;
      else if (!best || result.passed > best->passed) best = std::move(result);
    }
    if (valid == 1) return;
    std::string seen = valid == 0 ? "Found none valid" : fmt::format("Found {} valid alternatives", valid);
    composite(found, fmt::format("{} must validate one and only one schema (oneOf). {}", api::quote(path), seen));
    if (valid == 0) found.add(std::move(*best));
  }

  void check_all(const Json& value, const Json* old, const SchemaNode& schema, const std::string& path,
                 Findings& found) {
    size_t valid = 0;
    for (const SchemaNode& one : schema.all_of) {
      Findings result = run(value, old, one, path);
      if (result.none()) ++valid;
      found.add(std::move(result));
    }
    if (valid == schema.all_of.size()) return;
    composite(found, fmt::format("{} must validate all the schemas (allOf){}", api::quote(path),
                                 valid == 0 ? ". None validated" : ""));
  }
};

}  // namespace

std::string printed(const Json& value) {
  if (value.is_string()) return api::quote(value.get_ref<const std::string&>());
  if (value.is_number_float()) return go_number(value.get<double>());
  return value.dump();
}

void validate_value(const Json& value, const Json* old, const SchemaNode& schema, api::FieldErrors& errors) {
  Validator validator;
  Findings found = validator.run(value, nullptr, schema, "");
  // Comparing with the old value costs, so it is asked only about objects that are wrong.
  if (!found.none() && old) found = validator.run(value, old, schema, "");
  for (api::FieldError& one : found.errors) errors.add(std::move(one));
}

}  // namespace skiff::registry
