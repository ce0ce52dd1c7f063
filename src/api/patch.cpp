#include "api/patch.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "api/json.hpp"
#include "base/encoding.hpp"

namespace skiff::api {

using nlohmann::json;

Result<json> apply_json_patch(json document, const json& patch) {
  constexpr size_t kMaxOperations = 10000;
  if (patch.size() > kMaxOperations)
    return error(Code::TooLarge, "Request entity is too large: The allowed maximum operations in a JSON patch is {}, got {}",
                 kMaxOperations, patch.size());
  try {
    return document.patch(patch);
  } catch (const json::parse_error& problem) {
    return error(Code::BadRequest, "invalid JSON patch: {}", problem.what());
  } catch (const json::exception&) {
    // A test that fails or a path that is not there; Kubernetes does not say which.
    return error(Code::Invalid, "the server rejected our request due to an error in our request");
  }
}

json apply_merge_patch(json document, const json& patch) {
  document.merge_patch(patch);
  return document;
}

namespace {

constexpr std::string_view kOrderPrefix = "$setElementOrder/";
constexpr std::string_view kDeletePrefix = "$deleteFromPrimitiveList/";

Result<json> merge_object(json original, const json& patch, const TypeInfo* type);

// What the schema says about one member.
struct Member {
  const TypeInfo* type = nullptr;  // of the struct it holds (or of its elements), null when unknown
  const TypeInfo* values = nullptr;  // of the values, for a map of structs
  bool merges_list = false;
  bool replaces = false;
  std::string merge_key;
};

Member member_of(const TypeInfo* type, const std::string& name) {
  Member member;
  const FieldInfo* field = type ? find_field(*type, name) : nullptr;
  if (!field) return member;
  std::vector<std::string> strategies = split(field->patch_strategy, ',');
  auto has = [&](const char* strategy) {
    return std::find(strategies.begin(), strategies.end(), strategy) != strategies.end();
  };
  member.merges_list = has("merge");
  member.replaces = has("replace");
  member.merge_key = field->patch_merge_key;
  if (!field->type) return member;
  if (field->shape == Shape::Map) member.values = &field->type();
  else member.type = &field->type();
  return member;
}

Error bad_directive(std::string_view what) { return error(Code::BadRequest, "invalid strategic merge patch: {}", what); }

std::string directive_of(const json& object) {
  auto directive = object.find("$patch");
  return directive != object.end() && directive->is_string() ? directive->get<std::string>() : "";
}

// The patch's members that are not directives.
json without_directives(const json& patch) {
  json plain = json::object();
  for (const auto& [name, value] : patch.items())
    if (!name.starts_with("$")) plain[name] = value;
  return plain;
}

auto find_by_key(json& list, const std::string& key, const json& value) {
  return std::find_if(list.begin(), list.end(), [&](const json& item) {
    return item.is_object() && item.contains(key) && item[key] == value;
  });
}

Result<json> merge_object_list(json original, const json& patch, const Member& member) {
  bool replace = std::any_of(patch.begin(), patch.end(), [](const json& item) {
    return item.is_object() && directive_of(item) == "replace";
  });
  if (replace) original = json::array();
  for (const json& item : patch) {
    if (!item.is_object()) return bad_directive("expected an object in a list of objects");
    std::string directive = directive_of(item);
    if (directive == "replace") {
      if (json plain = without_directives(item); !plain.empty()) original.push_back(std::move(plain));
      continue;
    }
    if (!item.contains(member.merge_key))
      return bad_directive(fmt::format("map: {} does not contain declared merge key: {}", item.dump(), member.merge_key));
    auto known = find_by_key(original, member.merge_key, item[member.merge_key]);
    if (directive == "delete") {
      if (known != original.end()) original.erase(known);
    } else if (known != original.end()) {
      TRY_ASSIGN(*known, merge_object(std::move(*known), item, member.type));
    } else {
      TRY_ASSIGN(json fresh, merge_object(json::object(), item, member.type));
      original.push_back(std::move(fresh));
    }
  }
  return original;
}

json merge_primitive_list(json original, const json& patch) {
  for (const json& item : patch)
    if (std::find(original.begin(), original.end(), item) == original.end()) original.push_back(item);
  return original;
}

// The identity of a list element in a $setElementOrder: its merge key's value, or itself.
json identity(const json& item, const std::string& merge_key) {
  if (!item.is_object()) return item;
  return merge_key.empty() || !item.contains(merge_key) ? json() : item[merge_key];
}

int position(const json& list, const json& id, const std::string& merge_key) {
  for (size_t i = 0; i < list.size(); ++i)
    if (identity(list[i], merge_key) == id) return static_cast<int>(i);
  return -1;
}

// Elements that `order` names come in that order; the others keep their place among those they stood with before.
json ordered(const json& merged, const json& before, const json& order, const std::string& merge_key) {
  std::vector<const json*> named, others;
  for (const json& item : merged)
    (position(order, identity(item, merge_key), merge_key) >= 0 ? named : others).push_back(&item);
  std::stable_sort(named.begin(), named.end(), [&](const json* a, const json* b) {
    return position(order, identity(*a, merge_key), merge_key) < position(order, identity(*b, merge_key), merge_key);
  });
  json result = json::array();
  auto next_named = named.begin();
  for (const json* other : others) {
    int place = position(before, identity(*other, merge_key), merge_key);
    while (next_named != named.end()) {
      int named_place = position(before, identity(**next_named, merge_key), merge_key);
      if (named_place > place) break;
      result.push_back(**next_named++);
    }
    result.push_back(*other);
  }
  for (; next_named != named.end(); ++next_named) result.push_back(**next_named);
  return result;
}

Result<json> merge_list(const json& original, const json& patch, const Member& member) {
  if (!member.merges_list || !original.is_array()) {
    json plain = json::array();
    for (const json& item : patch) {
      if (!item.is_object()) {
        plain.push_back(item);
      } else if (directive_of(item).empty()) {
        TRY_ASSIGN(json fresh, merge_object(json::object(), item, member.type));
        plain.push_back(std::move(fresh));
      } else if (json rest = without_directives(item); directive_of(item) == "replace" && !rest.empty()) {
        plain.push_back(std::move(rest));
      }
    }
    return plain;
  }
  if (member.merge_key.empty()) return merge_primitive_list(original, patch);
  return merge_object_list(original, patch, member);
}

Status merge_member(json& result, const std::string& name, const json& value, const Member& member) {
  if (value.is_null()) {
    result.erase(name);
    return ok();
  }
  json original = result.contains(name) ? result[name] : json();
  if (value.is_array()) {
    // Merging into nothing still strips directives and drops deletions.
    if (member.merges_list && original.is_null()) original = json::array();
    TRY_ASSIGN(result[name], merge_list(original, value, member));
  } else if (value.is_object() && !member.replaces) {
    if (!original.is_object()) original = json::object();
    if (member.values) {
      for (const auto& [key, element] : value.items()) TRY(merge_member(original, key, element, {.type = member.values}));
      result[name] = std::move(original);
    } else {
      TRY_ASSIGN(result[name], merge_object(std::move(original), value, member.type));
    }
  } else {
    result[name] = value.is_object() ? without_directives(value) : value;
  }
  return ok();
}

Status delete_primitives(json& result, const std::string& name, const json& values) {
  if (!values.is_array()) return bad_directive("$deleteFromPrimitiveList wants a list");
  if (!result.contains(name) || !result[name].is_array()) return ok();
  json kept = json::array();
  for (const json& item : result[name])
    if (std::find(values.begin(), values.end(), item) == values.end()) kept.push_back(item);
  result[name] = std::move(kept);
  return ok();
}

Status retain_keys(json& original, const json& patch) {
  auto keys = patch.find("$retainKeys");
  if (keys == patch.end()) return ok();
  if (!keys->is_array()) return bad_directive("$retainKeys wants a list");
  std::vector<std::string> dropped;
  for (const auto& [name, value] : original.items())
    if (std::find(keys->begin(), keys->end(), json(name)) == keys->end()) dropped.push_back(name);
  for (const std::string& name : dropped) original.erase(name);
  return ok();
}

Result<json> merge_object(json original, const json& patch, const TypeInfo* type) {
  if (!patch.is_object()) return bad_directive("expected an object");
  if (std::string directive = directive_of(patch); directive == "replace") return without_directives(patch);
  else if (directive == "delete") return json::object();
  else if (!directive.empty() && directive != "merge")
    return bad_directive(fmt::format("unknown patch type: {}", directive));
  TRY(retain_keys(original, patch));
  const json before = original;
  for (const auto& [name, value] : patch.items()) {
    if (name.starts_with(kDeletePrefix)) {
      TRY(delete_primitives(original, name.substr(kDeletePrefix.size()), value));
    } else if (!name.starts_with("$")) {
      TRY(merge_member(original, name, value, member_of(type, name)));
    }
  }
  for (const auto& [name, value] : patch.items()) {
    if (!name.starts_with(kOrderPrefix)) continue;
    std::string list = name.substr(kOrderPrefix.size());
    if (!value.is_array()) return bad_directive("$setElementOrder wants a list");
    if (!original.contains(list) || !original[list].is_array()) continue;
    json had = before.contains(list) && before[list].is_array() ? before[list] : json::array();
    original[list] = ordered(original[list], had, value, member_of(type, list).merge_key);
  }
  return original;
}

}  // namespace

Result<json> apply_strategic_patch(json document, const json& patch, const TypeInfo& type) {
  return merge_object(std::move(document), patch, &type);
}

}  // namespace skiff::api
