#include "api/merge.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

namespace skiff::api {

using nlohmann::json;

namespace {

struct StepLess {
  bool operator()(const std::string& a, const std::string& b) const { return step_less(a, b); }
};

// The step of a list's element. A key that is absent and has no default is left out.
std::string element_step(const json& item, MergeRule rule, const std::vector<MergeSchema::Key>& keys) {
  if (rule == MergeRule::Set) return "v:" + item.dump();
  json values = json::object();
  for (const MergeSchema::Key& key : keys) {
    if (item.is_object() && item.contains(key.name)) values[key.name] = item[key.name];
    else if (!key.fallback.empty()) values[key.name] = json::parse(key.fallback, nullptr, false);
  }
  return "k:" + values.dump();
}

std::vector<std::string> element_steps(const json& list, MergeRule rule, const MergeSchema& schema) {
  std::vector<MergeSchema::Key> keys = schema.keys();
  std::vector<std::string> steps;
  for (const json& item : list) steps.push_back(element_step(item, rule, keys));
  return steps;
}

bool is_list_rule(MergeRule rule) { return rule == MergeRule::Set || rule == MergeRule::Keyed; }

// How two values that may be absent (null pointers) meet; values of different shapes, and two empty ones, are leaves.
MergeRule common_rule(const json* a, const json* b, const MergeSchema& schema) {
  bool nothing_inside = (!a || a->empty()) && (!b || b->empty());
  if (nothing_inside) return MergeRule::Leaf;
  if (!a || a->is_null()) return schema.rule(*b);
  if (!b || b->is_null()) return schema.rule(*a);
  MergeRule rule = schema.rule(*a);
  return rule == schema.rule(*b) ? rule : MergeRule::Leaf;
}

const json* member(const json* object, const std::string& name) {
  if (!object || !object->is_object()) return nullptr;
  auto found = object->find(name);
  return found == object->end() ? nullptr : &*found;
}

std::vector<std::string> names_of(const json* a, const json* b) {
  std::vector<std::string> names;
  if (a && a->is_object())
    for (const auto& [name, value] : a->items()) names.push_back(name);
  if (b && b->is_object())
    for (const auto& [name, value] : b->items())
      if (!member(a, name)) names.push_back(name);
  return names;
}

}  // namespace

// ---- what a document states

FieldSet fields_of(const json& value, const MergeSchema& schema) {
  FieldSet set;
  MergeRule rule = schema.rule(value);
  if (rule == MergeRule::Fields) {
    for (const auto& [name, inner] : value.items()) {
      std::string step = "f:" + name;
      MergeSchema below = schema.member(name);
      bool blank = inner.is_object() && inner.empty();
      bool whole = blank || below.rule(inner) == MergeRule::Leaf || !schema.declares(name);
      if (whole) set.add(step);
      set.add_below(step, fields_of(inner, below));
    }
  } else if (is_list_rule(rule)) {
    std::vector<std::string> steps = element_steps(value, rule, schema);
    for (size_t i = 0; i < steps.size(); ++i) {
      set.add(steps[i]);
      set.add_below(steps[i], fields_of(value[i], schema.element()));
    }
  }
  return set;
}

FieldSet with_named_fields(const FieldSet& set, const MergeSchema& schema) {
  FieldSet result;
  for (const FieldSet::Entry& one : set.entries()) {
    bool field = one.step.starts_with("f:");
    std::string name = field ? one.step.substr(2) : "";
    if (one.member || (field && schema.declares(name))) result.add(one.step);
    result.add_below(one.step, with_named_fields(one.below, field ? schema.member(name) : schema.element()));
  }
  return result;
}

// ---- merging

namespace {

std::optional<json> merge(const json* live, const json* applied, const MergeSchema& schema);

class ListMerge {
 public:
  ListMerge(const json* live, const json* applied, MergeRule rule, const MergeSchema& schema)
      : element_(schema.element()), live_(live && live->is_array() ? *live : json::array()),
        applied_(applied && applied->is_array() ? *applied : json::array()),
        left_(element_steps(live_, rule, schema)), right_(element_steps(applied_, rule, schema)) {
    for (size_t i = 0; i < left_.size(); ++i) {
      auto [place, fresh] = in_live_.emplace(left_[i], i);
      if (!fresh) place->second = kSeveral;
    }
    for (size_t i = 0; i < right_.size(); ++i) in_applied_.emplace(right_[i], i);
    for (const std::string& step : right_)
      if (in_live_.contains(step)) shared_.push_back(step);
  }

  // Walks both lists at once: elements of either keep their order, and those of `applied` win where the two disagree.
  json run() {
    while (l_ < left_.size() || r_ < right_.size()) {
      if (l_ < left_.size() && r_ < right_.size()) {
        if (left_[l_] == right_[r_]) {
          take(right_[r_]);
          ++l_, ++r_;
          ++next_shared_;
          continue;
        }
        // Shared, but its turn is later.
        if (in_applied_.contains(left_[l_]) && next_shared_ < shared_.size() && shared_[next_shared_] != left_[l_]) {
          ++l_;
          continue;
        }
      }
      if (l_ < left_.size()) {
        if (!in_applied_.contains(left_[l_])) {
          push(merge(&live_[l_++], nullptr, element_));
          continue;
        }
        if (done_.contains(left_[l_])) ++l_;
      }
      if (r_ < right_.size()) {
        bool was_next = next_shared_ < shared_.size() && shared_[next_shared_] == right_[r_];
        take(right_[r_++]);
        if (was_next) ++next_shared_;
      }
    }
    return std::move(out_);
  }

 private:
  static constexpr size_t kSeveral = static_cast<size_t>(-1);

  void take(const std::string& step) {
    done_.emplace(step, 0);
    auto live = in_live_.find(step);
    const json* old = live == in_live_.end() || live->second == kSeveral ? nullptr : &live_[live->second];
    push(merge(old, &applied_[in_applied_.at(step)], element_));
  }
  void push(std::optional<json> value) {
    if (value) out_.push_back(std::move(*value));
  }

  const MergeSchema element_;
  const json live_, applied_;
  const std::vector<std::string> left_, right_;
  std::map<std::string, size_t> in_live_, in_applied_, done_;
  std::vector<std::string> shared_;
  size_t l_ = 0, r_ = 0, next_shared_ = 0;
  json out_ = json::array();
};

std::optional<json> merge(const json* live, const json* applied, const MergeSchema& schema) {
  if (!live && !applied) return std::nullopt;
  MergeRule rule = common_rule(live, applied, schema);
  if (rule == MergeRule::Leaf || !applied) return applied ? *applied : *live;
  if (is_list_rule(rule)) {
    if (!live) return *applied;
    return ListMerge(live, applied, rule, schema).run();
  }
  json result = json::object();
  for (const std::string& name : names_of(live, applied)) {
    std::optional<json> value = merge(member(live, name), member(applied, name), schema.member(name));
    if (value) result[name] = std::move(*value);
  }
  return result;
}

}  // namespace

json merged(const json& live, const json& applied, const MergeSchema& schema) {
  return merge(&live, &applied, schema).value_or(json());
}

// ---- removing

json without_fields(const json& value, const FieldSet& remove, const MergeSchema& schema) {
  MergeRule rule = schema.rule(value);
  if (value.empty() || rule == MergeRule::Leaf) return value.is_structured() ? json() : value;
  if (rule == MergeRule::Fields) {
    json kept = json::object();
    for (const auto& [name, inner] : value.items()) {
      std::string step = "f:" + name;
      if (remove.has(step)) continue;
      const FieldSet& below = remove.below(step);
      kept[name] = below.empty() ? inner : without_fields(inner, below, schema.member(name));
      if (kept[name].is_null() && !inner.is_null()) kept.erase(name);
    }
    return kept.empty() ? json() : kept;
  }
  json kept = json::array();
  std::vector<std::string> steps = element_steps(value, rule, schema);
  for (size_t i = 0; i < steps.size(); ++i) {
    if (remove.has(steps[i])) continue;
    const FieldSet& below = remove.below(steps[i]);
    kept.push_back(below.empty() ? value[i] : without_fields(value[i], below, schema.element()));
  }
  return kept.empty() ? json() : kept;
}

// ---- comparing

namespace {

FieldChanges compare(const json* old, const json* next, const MergeSchema& schema);

// One place below another: what lies inside, and the place itself when it came, went or changed as a whole.
void compare_below(FieldChanges& into, const std::string& step, std::pair<const json*, const json*> both,
                   const MergeSchema& schema) {
  auto [old, next] = both;
  if (!old) into.added.add(step);
  else if (!next) into.removed.add(step);
  else if (common_rule(old, next, schema) == MergeRule::Leaf && *old != *next) into.modified.add(step);
  FieldChanges below = compare(old, next, schema);
  into.added.add_below(step, std::move(below.added));
  into.removed.add_below(step, std::move(below.removed));
  into.modified.add_below(step, std::move(below.modified));
}

using Elements = std::map<std::string, std::vector<const json*>, StepLess>;

Elements elements_of(const json* list, MergeRule rule, const MergeSchema& schema) {
  Elements elements;
  if (!list || !list->is_array()) return elements;
  std::vector<std::string> steps = element_steps(*list, rule, schema);
  for (size_t i = 0; i < steps.size(); ++i) elements[steps[i]].push_back(&(*list)[i]);
  return elements;
}

// Elements that share a step count as one atomic value.
void compare_elements(FieldChanges& into, const std::string& step, const std::vector<const json*>& old,
                      const std::vector<const json*>& next, const MergeSchema& element) {
  auto first = [](const std::vector<const json*>& all) { return all.empty() ? nullptr : all[0]; };
  if (old.size() < 2 && next.size() < 2) return compare_below(into, step, {first(old), first(next)}, element);
  if (old.size() < 2) {
    if (!old.empty()) compare_below(into, step, {old[0], nullptr}, element);
    into.added.add(step);
  } else if (next.size() < 2) {
    if (!next.empty()) compare_below(into, step, {nullptr, next[0]}, element);
    into.removed.add(step);
  } else if (!std::ranges::equal(old, next, [](const json* a, const json* b) { return *a == *b; })) {
    into.modified.add(step);
  }
}

FieldChanges compare(const json* old, const json* next, const MergeSchema& schema) {
  FieldChanges changes;
  MergeRule rule = common_rule(old, next, schema);
  if (rule == MergeRule::Fields) {
    for (const std::string& name : names_of(old, next))
      compare_below(changes, "f:" + name, {member(old, name), member(next, name)}, schema.member(name));
  } else if (is_list_rule(rule)) {
    Elements left = elements_of(old, rule, schema), right = elements_of(next, rule, schema);
    MergeSchema element = schema.element();
    for (const auto& [step, items] : left) compare_elements(changes, step, items, right[step], element);
    for (const auto& [step, items] : right)
      if (!left.contains(step)) compare_elements(changes, step, {}, items, element);
  }
  return changes;
}

}  // namespace

FieldChanges compare_documents(const json& old, const json& next, const MergeSchema& schema) {
  return compare(&old, &next, schema);
}

// ---- checking

namespace {

void check(const json& value, const MergeSchema& schema, const std::string& path, std::vector<std::string>& problems);

void check_elements(const json& list, MergeRule rule, const MergeSchema& schema, const std::string& path,
                    std::vector<std::string>& problems) {
  std::vector<MergeSchema::Key> keys = schema.keys();
  std::map<std::string, int> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    if (rule == MergeRule::Keyed) {
      auto lacking = std::ranges::find_if(keys, [&](const MergeSchema::Key& key) {
        return key.fallback.empty() && !(list[i].is_object() && list[i].contains(key.name));
      });
      if (lacking != keys.end()) {
        problems.push_back(fmt::format("{}: element {}: associative list with keys has an element that omits key field "
                                       "\"{}\" (and doesn't have default value)", path, i, lacking->name));
        continue;
      }
    }
    std::string step = element_step(list[i], rule, keys);
    std::string place = path_text({step});
    if (++seen[step] == 2) problems.push_back(fmt::format("{}: duplicate entries for key {}", path, place));
    check(list[i], schema.element(), path + place, problems);
  }
}

void check(const json& value, const MergeSchema& schema, const std::string& path, std::vector<std::string>& problems) {
  if (std::string problem = schema.mismatch(value); !problem.empty()) {
    problems.push_back(fmt::format("{}: {}", path, problem));
    return;
  }
  if (value.is_object()) {
    for (const auto& [name, inner] : value.items()) {
      std::string place = path + "." + name;
      if (!schema.allows(name)) problems.push_back(place + ": field not declared in schema");
      else check(inner, schema.member(name), place, problems);
    }
  } else if (value.is_array()) {
    MergeRule rule = schema.rule(value);
    if (is_list_rule(rule)) return check_elements(value, rule, schema, path, problems);
    for (size_t i = 0; i < value.size(); ++i) check(value[i], schema.element(), fmt::format("{}[{}]", path, i), problems);
  }
}

}  // namespace

std::vector<std::string> schema_problems(const json& value, const MergeSchema& schema) {
  std::vector<std::string> problems;
  check(value, schema, "", problems);
  return problems;
}

}  // namespace skiff::api
