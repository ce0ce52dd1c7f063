#include "api/field_changes.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "api/json.hpp"
#include "api/merge.hpp"
#include "api/presence.hpp"
#include "api/values.hpp"
#include "base/encoding.hpp"

namespace skiff::api {

bool is_system_metadata(std::string_view field) {
  static constexpr std::array<std::string_view, 8> kNames{"name",       "namespace", "creationTimestamp", "selfLink", "uid",
                                                          "generation", "managedFields", "resourceVersion"};
  return std::ranges::find(kNames, field) != kNames.end();
}

namespace {

bool same_struct(const TypeInfo& type, const void* a, const void* b);

template <class T>
bool same(const void* a, const void* b) {
  return *static_cast<const T*>(a) == *static_cast<const T*>(b);
}

// Of the values themselves, whatever holds them.
bool same_value(const FieldInfo& field, const void* a, const void* b) {
  switch (field.value) {
    case ValueKind::String: return same<std::string>(a, b);
    case ValueKind::Bool: return same<bool>(a, b);
    case ValueKind::Int32: return same<std::int32_t>(a, b);
    case ValueKind::Int64: return same<std::int64_t>(a, b);
    case ValueKind::Double: return same<double>(a, b);
    case ValueKind::Bytes: return same<Bytes>(a, b);
    case ValueKind::Time: return same<Time>(a, b);
    case ValueKind::MicroTime: return same<MicroTime>(a, b);
    case ValueKind::Quantity: return same<Quantity>(a, b);
    case ValueKind::IntOrString: return same<IntOrString>(a, b);
    case ValueKind::Raw: return same<Raw>(a, b);
    case ValueKind::StringList: return same<std::vector<std::string>>(a, b);
    case ValueKind::Struct: return same_struct(field.type(), a, b);
  }
  return false;
}

using Item = std::pair<std::string_view, const void*>;

std::vector<Item> map_items(const FieldInfo& field, const void* member) {
  std::vector<Item> items;
  if (!member) return items;
  items.reserve(field.ops->size(member));
  field.ops->each(member, [&](const std::string& key, const void* value) { items.emplace_back(key, value); });
  return items;
}

bool same_member(const FieldInfo& field, const void* a, const void* b) {
  if (field.shape == Shape::Plain) return same_value(field, a, b);
  size_t size = field.ops->size(a);
  if (size != field.ops->size(b)) return false;
  if (field.shape == Shape::Map) {
    std::vector<Item> left = map_items(field, a), right = map_items(field, b);
    return std::ranges::equal(left, right, [&](const Item& x, const Item& y) {
      return x.first == y.first && same_value(field, x.second, y.second);
    });
  }
  for (size_t i = 0; i < size; ++i)
    if (!same_value(field, field.ops->at(a, i), field.ops->at(b, i))) return false;
  return true;
}

bool same_struct(const TypeInfo& type, const void* a, const void* b) {
  return std::ranges::all_of(type.fields, [&](const FieldInfo& field) {
    return same_member(field, field_at(a, field), field_at(b, field));
  });
}

// A scalar as it stands in a step: k:{"port":80}, v:"x".
std::string scalar_json(const FieldInfo& field, const void* value) {
  std::string out;
  switch (field.value) {
    case ValueKind::Int32: return std::to_string(*static_cast<const std::int32_t*>(value));
    case ValueKind::Int64: return std::to_string(*static_cast<const std::int64_t*>(value));
    case ValueKind::Bool: return *static_cast<const bool*>(value) ? "true" : "false";
    case ValueKind::IntOrString: {
      const auto& either = *static_cast<const IntOrString*>(value);
      if (!either.is_string) return std::to_string(either.number);
      append_json_string(out, either.text);
      return out;
    }
    case ValueKind::String: append_json_string(out, *static_cast<const std::string*>(value)); return out;
    default: return "null";
  }
}

// The step of one element of an associative list; keys by name, absent ones by their default.
std::string element_step(const FieldInfo& list, const void* element) {
  if (list.list_type == ListType::Set) return "v:" + scalar_json(list, element);
  std::vector<std::string> keys = split(list.list_keys, ',');
  std::ranges::sort(keys);
  std::string step = "k:{";
  for (const std::string& key : keys) {
    const FieldInfo* field = find_field(list.type(), key);
    if (!field) continue;
    const void* member = field_at(element, *field);
    std::string value;
    if (!is_absent(*field, member)) {
      if (field->shape == Shape::Plain) value = scalar_json(*field, member);
      else if (field->shape == Shape::Optional && field->ops->size(member) > 0) value = scalar_json(*field, field->ops->at(member, 0));
    } else {
      value = *field->schema_default ? field->schema_default : field->default_json;
    }
    if (value.empty()) continue;
    if (step.size() > 3) step += ',';
    append_json_string(step, key);
    step += ':' + value;
  }
  return step + "}";
}

class Comparer {
 public:
  // Either side may be null: absent.
  static FieldChanges fields(const TypeInfo& type, const void* old, const void* next) {
    FieldChanges changes;
    for (const FieldInfo& field : type.fields) member(changes, field, old, next);
    return changes;
  }

  static void member(FieldChanges& into, const FieldInfo& field, const void* old, const void* next) {
    const void* a = old ? field_at(old, field) : nullptr;
    const void* b = next ? field_at(next, field) : nullptr;
    if (a && is_absent(field, a)) a = nullptr;
    if (b && is_absent(field, b)) b = nullptr;
    if (!a && !b) return;
    std::string step = std::string("f:") + field.name;
    if (is_leaf(field)) return leaf(into, step, a, b, !a || !b || same_member(field, a, b));
    FieldChanges below;
    switch (field.shape) {
      case Shape::List: list(below, field, a, b); break;
      case Shape::Map: map(below, field, a, b); break;
      case Shape::Plain: below = fields(field.type(), a, b); break;
      case Shape::Optional: below = fields(field.type(), content(field, a), content(field, b)); break;
    }
    attach(into, step, std::move(below), a, b);
  }

 private:
  static const void* content(const FieldInfo& field, const void* member) {
    return member && field.ops->size(member) > 0 ? field.ops->at(member, 0) : nullptr;
  }

  static bool is_leaf(const FieldInfo& field) {
    if (field.shape == Shape::List) return field.list_type != ListType::Set && field.list_type != ListType::Map;
    if (field.shape == Shape::Map) return field.map_type == MapType::Atomic;
    return is_leaf_value(field);
  }
  static bool is_leaf_value(const FieldInfo& field) {
    if (field.value != ValueKind::Struct) return true;
    if (field.map_type != MapType::Unset && field.shape != Shape::Map) return field.map_type == MapType::Atomic;
    return field.type().atomic;
  }

  static void leaf(FieldChanges& into, std::string_view step, const void* a, const void* b, bool equal) {
    if (!a) into.added.add(step);
    else if (!b) into.removed.add(step);
    else if (!equal) into.modified.add(step);
  }

  static void attach(FieldChanges& into, std::string_view step, FieldChanges below, const void* a, const void* b) {
    into.added.add_below(step, std::move(below.added));
    into.removed.add_below(step, std::move(below.removed));
    into.modified.add_below(step, std::move(below.modified));
    if (!a) into.added.add(step);
    if (!b) into.removed.add(step);
  }

  static void element(FieldChanges& into, const FieldInfo& field, std::string_view step,
                      std::pair<const void*, const void*> pair) {
    auto [a, b] = pair;
    if (is_leaf_value(field)) return leaf(into, step, a, b, !a || !b || same_value(field, a, b));
    attach(into, step, fields(field.type(), a, b), a, b);
  }

  static void map(FieldChanges& into, const FieldInfo& field, const void* old, const void* next) {
    std::vector<Item> left = map_items(field, old), right = map_items(field, next);
    auto a = left.begin(), b = right.begin();
    while (a != left.end() || b != right.end()) {
      bool take_a = b == right.end() || (a != left.end() && a->first <= b->first);
      bool take_b = a == left.end() || (b != right.end() && b->first <= a->first);
      std::string step = "f:" + std::string(take_a ? a->first : b->first);
      element(into, field, step, {take_a ? (a++)->second : nullptr, take_b ? (b++)->second : nullptr});
    }
  }

  using Steps = std::vector<std::pair<std::string, const void*>>;

  static Steps steps(const FieldInfo& field, const void* member) {
    Steps all;
    size_t size = member ? field.ops->size(member) : 0;
    for (size_t i = 0; i < size; ++i) {
      const void* item = field.ops->at(member, i);
      all.emplace_back(element_step(field, item), item);
    }
    std::ranges::stable_sort(all, [](const auto& x, const auto& y) { return step_less(x.first, y.first); });
    return all;
  }

  static void list(FieldChanges& into, const FieldInfo& field, const void* old, const void* next) {
    Steps left = steps(field, old), right = steps(field, next);
    auto a = left.begin(), b = right.begin();
    while (a != left.end() || b != right.end()) {
      bool from_a = b == right.end() || (a != left.end() && !step_less(b->first, a->first));
      const std::string step = from_a ? a->first : b->first;
      auto other = [&](const auto& item) { return item.first != step; };
      auto a_end = std::find_if(a, left.end(), other), b_end = std::find_if(b, right.end(), other);
      same_step(into, field, step, {std::span(a, a_end), std::span(b, b_end)});
      a = a_end, b = b_end;
    }
  }

  // One step of an associative list; elements that share it count as one atomic value.
  static void same_step(FieldChanges& into, const FieldInfo& field, const std::string& step,
                        std::pair<std::span<const Steps::value_type>, std::span<const Steps::value_type>> both) {
    auto [a, b] = both;
    auto first = [](auto span) { return span.empty() ? nullptr : span.front().second; };
    if (a.size() < 2 && b.size() < 2) return element(into, field, step, {first(a), first(b)});
    if (a.size() < 2) {
      if (!a.empty()) element(into, field, step, {first(a), nullptr});
      into.added.add(step);
    } else if (b.size() < 2) {
      if (!b.empty()) element(into, field, step, {nullptr, first(b)});
      into.removed.add(step);
    } else if (!std::ranges::equal(a, b, [&](const auto& x, const auto& y) { return same_value(field, x.second, y.second); })) {
      into.modified.add(step);
    }
  }
};

// What an open type holds besides its fields.
FieldChanges compare_rest(const TypeInfo& type, const Raw& old, const Raw& next, std::span<const std::string_view> ignored) {
  if (old == next) return {};
  auto document = [&](const Raw& raw) {
    nlohmann::json parsed = nlohmann::json::parse(raw.json, nullptr, false);
    if (!parsed.is_object()) parsed = nlohmann::json::object();
    for (std::string_view name : ignored) parsed.erase(std::string(name));
    return parsed;
  };
  return compare_documents(document(old), document(next), MergeSchema::of(type));
}

void unite(FieldChanges& into, const FieldChanges& more) {
  into.added = into.added.united(more.added);
  into.removed = into.removed.united(more.removed);
  into.modified = into.modified.united(more.modified);
}

}  // namespace

FieldChanges compare_objects(const TypeInfo& type, const void* old, const void* next,
                             std::span<const std::string_view> ignored) {
  FieldChanges changes;
  for (const FieldInfo& field : type.fields) {
    std::string_view name = field.name;
    if (name.empty()) {
      unite(changes, compare_rest(type, *static_cast<const Raw*>(field_at(old, field)),
                                  *static_cast<const Raw*>(field_at(next, field)), ignored));
      continue;
    }
    if (std::ranges::find(ignored, name) != ignored.end()) continue;
    if (name != "metadata") {
      Comparer::member(changes, field, old, next);
      continue;
    }
    FieldChanges below;
    for (const FieldInfo& inner : field.type().fields)
      if (!is_system_metadata(inner.name)) Comparer::member(below, inner, field_at(old, field), field_at(next, field));
    changes.added.add_below("f:metadata", std::move(below.added));
    changes.removed.add_below("f:metadata", std::move(below.removed));
    changes.modified.add_below("f:metadata", std::move(below.modified));
  }
  return changes;
}

}  // namespace skiff::api
