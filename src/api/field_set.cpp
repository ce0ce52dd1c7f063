#include "api/field_set.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/json.hpp"
#include "api/status.hpp"

namespace skiff::api {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

size_t digits_at(std::string_view text, size_t begin) {
  size_t end = begin;
  while (end < text.size() && is_digit(text[end])) ++end;
  return end - begin;
}

// Where a number that is a key's or a set's value begins, if position `at` is within one.
size_t number_start(std::string_view text, size_t at) {
  size_t begin = at;
  while (begin > 0 && is_digit(text[begin - 1])) --begin;
  return begin > 0 && text[begin - 1] == ':' ? begin : std::string_view::npos;
}

int rank(std::string_view step) {
  switch (step.empty() ? 'f' : step[0]) {
    case 'f': return 0;
    case 'k': return 1;
    case 'v': return 2;
    default: return 3;
  }
}

}  // namespace

bool step_less(std::string_view a, std::string_view b) {
  if (int ra = rank(a), rb = rank(b); ra != rb) return ra < rb;
  size_t at = 0;
  while (at < a.size() && at < b.size() && a[at] == b[at]) ++at;
  if (rank(a) > 0 && ((at < a.size() && is_digit(a[at])) || (at < b.size() && is_digit(b[at])))) {
    size_t begin = number_start(a, at);
    if (begin != std::string_view::npos) {
      size_t la = digits_at(a, begin), lb = digits_at(b, begin);
      if (la != lb && la > 0 && lb > 0) return la < lb;
    }
  }
  return a.substr(at) < b.substr(at);
}

namespace {

// FieldsV1 is objects of objects and nothing else, so reading it needs no document tree.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  Status set(FieldSet& into, int depth) {
    if (depth > kMaxDepth) return bad();
    if (!take('{')) return bad();
    if (take('}')) return ok();
    do {
      TRY_ASSIGN(std::string step, key());
      if (!take(':')) return bad();
      if (step == ".") {
        FieldSet ignored;
        TRY(set(ignored, depth + 1));
        self_ = true;
        continue;
      }
      TRY(check(step));
      FieldSet below;
      bool outer = std::exchange(self_, false);
      TRY(set(below, depth + 1));
      bool self = std::exchange(self_, outer);
      // An empty object means the path itself; otherwise "." says so.
      if (self || below.empty()) into.add(step);
      into.add_below(step, std::move(below));
    } while (take(','));
    return take('}') ? ok() : Status(bad());
  }
  bool done() {
    space();
    return rest_.empty();
  }
  static Error bad() { return bad_request("managedFields: fieldsV1 is not a set of fields"); }

 private:
  void space() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\n' || rest_[0] == '\t' || rest_[0] == '\r'))
      rest_.remove_prefix(1);
  }
  bool take(char c) {
    space();
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  Result<std::string> key() {
    space();
    if (rest_.empty() || rest_[0] != '"') return bad();
    size_t end = 1;
    bool escaped = false;
    while (end < rest_.size() && rest_[end] != '"') {
      if (rest_[end] == '\\') escaped = true, ++end;
      ++end;
    }
    if (end >= rest_.size()) return bad();
    std::string_view literal = rest_.substr(0, end + 1);
    rest_.remove_prefix(end + 1);
    if (!escaped) return std::string(literal.substr(1, literal.size() - 2));
    TRY_ASSIGN(nlohmann::json parsed, parse_json(literal));
    return parsed.get<std::string>();
  }
  // Spells keys and values canonically, whoever wrote them.
  static Status check(std::string& step) {
    if (step.starts_with("f:")) return ok();
    if (!step.starts_with("k:") && !step.starts_with("v:") && !step.starts_with("i:")) return bad();
    TRY_ASSIGN(nlohmann::json value, parse_json(std::string_view(step).substr(2)));
    if (step[0] == 'k' && !value.is_object()) return bad();
    if (step[0] == 'i' && !value.is_number_integer()) return bad();
    step = step.substr(0, 2) + value.dump();
    return ok();
  }

  std::string_view rest_;
  bool self_ = false;  // "." was seen in the object being read
};

}  // namespace

Result<FieldSet> FieldSet::parse(std::string_view json) {
  FieldSet set;
  Reader reader(json);
  TRY(reader.set(set, 0));
  if (!reader.done()) return Reader::bad();
  return set;
}

FieldSet FieldSet::of(const Path& steps) {
  FieldSet set;
  set.add(steps);
  return set;
}

void FieldSet::add(const Path& steps) {
  FieldSet* at = this;
  for (size_t i = 0; i + 1 < steps.size(); ++i) at = &at->entry(steps[i]).below;
  if (!steps.empty()) at->add(steps.back());
}

std::string FieldSet::json() const {
  std::string out;
  append_json(out);
  return out;
}

void FieldSet::append_json(std::string& out) const {
  out += '{';
  bool first = true;
  for (const Entry& one : entries_) {
    if (!first) out += ',';
    first = false;
    append_json_string(out, one.step);
    out += ':';
    if (one.below.empty()) {
      out += "{}";
      continue;
    }
    size_t open = out.size();
    one.below.append_json(out);
    if (one.member) out.insert(open + 1, "\".\":{},");
  }
  out += '}';
}

const FieldSet::Entry* FieldSet::find(std::string_view step) const {
  auto place = std::lower_bound(entries_.begin(), entries_.end(), step,
                                [](const Entry& one, std::string_view s) { return step_less(one.step, s); });
  return place != entries_.end() && place->step == step ? &*place : nullptr;
}

FieldSet::Entry& FieldSet::entry(std::string_view step) {
  if (entries_.empty() || step_less(entries_.back().step, step)) {  // sets are mostly built in order
    entries_.push_back({std::string(step), false, {}});
    return entries_.back();
  }
  auto place = std::lower_bound(entries_.begin(), entries_.end(), step,
                                [](const Entry& one, std::string_view s) { return step_less(one.step, s); });
  if (place == entries_.end() || place->step != step)
    place = entries_.insert(place, {std::string(step), false, {}});
  return *place;
}

bool FieldSet::has(std::string_view step) const {
  const Entry* found = find(step);
  return found && found->member;
}

bool FieldSet::has(const Path& path) const {
  const FieldSet* at = this;
  for (size_t i = 0; i + 1 < path.size(); ++i) at = &at->below(path[i]);
  return !path.empty() && at->has(path.back());
}

const FieldSet& FieldSet::below(std::string_view step) const {
  static const FieldSet kNothing;
  const Entry* found = find(step);
  return found ? found->below : kNothing;
}

void FieldSet::add(std::string_view step) { entry(step).member = true; }

void FieldSet::add_below(std::string_view step, FieldSet below) {
  if (below.empty()) return;
  Entry& one = entry(step);
  one.below = one.below.empty() ? std::move(below) : one.below.united(below);
}

FieldSet FieldSet::united(const FieldSet& other) const {
  if (other.empty()) return *this;
  if (empty()) return other;
  FieldSet result;
  auto a = entries_.begin(), b = other.entries_.begin();
  while (a != entries_.end() || b != other.entries_.end()) {
    if (b == other.entries_.end() || (a != entries_.end() && step_less(a->step, b->step))) {
      result.entries_.push_back(*a++);
    } else if (a == entries_.end() || step_less(b->step, a->step)) {
      result.entries_.push_back(*b++);
    } else {
      result.entries_.push_back({a->step, a->member || b->member, a->below.united(b->below)});
      ++a, ++b;
    }
  }
  return result;
}

FieldSet FieldSet::intersected(const FieldSet& other) const {
  FieldSet result;
  for (const Entry& one : entries_) {
    const Entry* same = other.find(one.step);
    if (!same) continue;
    Entry kept{one.step, one.member && same->member, one.below.intersected(same->below)};
    if (kept.member || !kept.below.empty()) result.entries_.push_back(std::move(kept));
  }
  return result;
}

FieldSet FieldSet::without(const FieldSet& other) const {
  if (other.empty()) return *this;
  FieldSet result;
  for (const Entry& one : entries_) {
    const Entry* same = other.find(one.step);
    if (!same) {
      result.entries_.push_back(one);
      continue;
    }
    Entry kept{one.step, one.member && !same->member, one.below.without(same->below)};
    if (kept.member || !kept.below.empty()) result.entries_.push_back(std::move(kept));
  }
  return result;
}

FieldSet FieldSet::without_trees(const FieldSet& other) const {
  if (other.empty()) return *this;
  FieldSet result;
  for (const Entry& one : entries_) {
    const Entry* same = other.find(one.step);
    if (same && same->member) continue;
    Entry kept{one.step, one.member, same ? one.below.without_trees(same->below) : one.below};
    if (kept.member || !kept.below.empty()) result.entries_.push_back(std::move(kept));
  }
  return result;
}

FieldSet FieldSet::leaves() const {
  FieldSet result;
  for (const Entry& one : entries_) {
    Entry kept{one.step, one.member && one.below.empty(), one.below.leaves()};
    if (kept.member || !kept.below.empty()) result.entries_.push_back(std::move(kept));
  }
  return result;
}

void FieldSet::each(const std::function<void(const Path&)>& visit) const {
  Path path;
  visit_all(path, visit);
}

void FieldSet::visit_all(Path& path, const std::function<void(const Path&)>& visit) const {
  for (const Entry& one : entries_) {
    if (!one.member) continue;
    path.push_back(one.step);
    visit(path);
    path.pop_back();
  }
  for (const Entry& one : entries_) {
    if (one.below.empty()) continue;
    path.push_back(one.step);
    one.below.visit_all(path, visit);
    path.pop_back();
  }
}

bool FieldSet::operator==(const FieldSet& other) const { return entries_ == other.entries_; }

std::string path_text(const FieldSet::Path& path) {
  std::string text;
  for (const std::string& step : path) {
    std::string rest = step.substr(2);
    if (step[0] == 'f') {
      text += "." + rest;
    } else if (step[0] == 'v') {
      text += "[=" + rest + "]";
    } else if (step[0] == 'i') {
      text += "[" + rest + "]";
    } else {
      nlohmann::json keys = nlohmann::json::parse(rest, nullptr, false);
      std::string parts;
      for (const auto& [name, value] : keys.items())
        parts += (parts.empty() ? "" : ",") + name + "=" + value.dump();
      text += "[" + parts + "]";
    }
  }
  return text;
}

}  // namespace skiff::api
