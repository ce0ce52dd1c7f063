#include "registry/json_path.hpp"

#include <charconv>
#include <nlohmann/json.hpp>

#include "base/encoding.hpp"

namespace skiff::registry {
namespace {

using Json = nlohmann::json;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

bool quoted(std::string_view text) {
  return text.size() >= 2 && (text.front() == '\'' || text.front() == '"') && text.back() == text.front();
}

// Where the bracket that opens at `from` closes; brackets inside quotes do not count.
size_t closing_bracket(std::string_view text, size_t from) {
  char quote = 0;
  int depth = 0;
  for (size_t i = from; i < text.size(); ++i) {
    char c = text[i];
    if (quote) {
      if (c == quote) quote = 0;
    } else if (c == '\'' || c == '"') {
      quote = c;
    } else if (c == '[') {
      ++depth;
    } else if (c == ']' && --depth == 0) {
      return i;
    }
  }
  return std::string_view::npos;
}

}  // namespace

Result<JsonPath::Step> JsonPath::parse_filter(std::string_view inside) {
  Step step{.kind = Step::Kind::Filter};
  std::string_view left = inside;
  for (std::string_view op : {"==", "!=", "<=", ">=", "<", ">"}) {
    size_t at = inside.find(op);
    if (at == std::string_view::npos) continue;
    left = inside.substr(0, at);
    step.op = op;
    std::string_view literal = trimmed(inside.substr(at + op.size()));
    step.literal = quoted(literal) ? Json(std::string(literal.substr(1, literal.size() - 2))).dump()
                                   : std::string(literal);
    break;
  }
  left = trimmed(left);
  if (left.empty() || left.front() != '@') return error(Code::Invalid, "unsupported filter {}", std::string(inside));
  for (std::string& name : split(left.substr(1), '.'))
    if (!name.empty()) step.path.push_back(std::move(name));
  return step;
}

Result<JsonPath::Step> JsonPath::parse_bracket(std::string_view inside) {
  inside = trimmed(inside);
  if (inside == "*") return Step{.kind = Step::Kind::All};
  if (quoted(inside)) return Step{.kind = Step::Kind::Member, .name = std::string(inside.substr(1, inside.size() - 2))};
  if (inside.starts_with("?(") && inside.ends_with(")")) return parse_filter(inside.substr(2, inside.size() - 3));
  Step step{.kind = Step::Kind::Index};
  auto [end, failure] = std::from_chars(inside.data(), inside.data() + inside.size(), step.index);
  if (failure != std::errc() || end != inside.data() + inside.size())
    return error(Code::Invalid, "invalid array index {}", std::string(inside));
  return step;
}

Result<JsonPath> JsonPath::parse(std::string_view text) {
  JsonPath path;
  for (size_t i = 0; i < text.size();) {
    if (text[i] == '[') {
      size_t close = closing_bracket(text, i);
      if (close == std::string_view::npos) return Error(Code::Invalid, "unterminated array");
      TRY_ASSIGN(Step step, parse_bracket(text.substr(i + 1, close - i - 1)));
      path.steps_.push_back(std::move(step));
      i = close + 1;
      continue;
    }
    if (text[i] != '.') return error(Code::Invalid, "unrecognized character in path: '{}'", text[i]);
    if (text.substr(i).starts_with("..")) return Error(Code::Invalid, "recursive descent is not supported");
    std::string name;
    for (++i; i < text.size() && text[i] != '.' && text[i] != '['; ++i) {
      if (text[i] == '\\' && i + 1 < text.size()) ++i;  // \. belongs to the name
      name.push_back(text[i]);
    }
    if (name == "*") path.steps_.push_back({.kind = Step::Kind::All});
    else if (!name.empty()) path.steps_.push_back({.kind = Step::Kind::Member, .name = std::move(name)});
  }
  return path;
}

bool JsonPath::holds(const Step& filter, const Json& item) {
  const Json* value = &item;
  for (const std::string& name : filter.path) {
    auto found = value->is_object() ? value->find(name) : value->end();
    if (!value->is_object() || found == value->end()) return false;
    value = &*found;
  }
  if (filter.op.empty()) return true;
  Json literal = Json::parse(filter.literal, nullptr, false);
  if (literal.is_discarded()) literal = filter.literal;
  if (filter.op == "==") return *value == literal;
  if (filter.op == "!=") return *value != literal;
  bool comparable = (value->is_number() && literal.is_number()) || (value->is_string() && literal.is_string());
  if (!comparable) return false;
  if (filter.op == "<") return *value < literal;
  if (filter.op == ">") return *value > literal;
  return filter.op == "<=" ? *value <= literal : *value >= literal;
}

void JsonPath::apply(const Step& step, const Json& value, std::vector<const Json*>& out) {
  switch (step.kind) {
    case Step::Kind::Member:
      if (value.is_object())
        if (auto found = value.find(step.name); found != value.end()) out.push_back(&*found);
      return;
    case Step::Kind::Index: {
      if (!value.is_array()) return;
      long size = static_cast<long>(value.size()), at = step.index < 0 ? size + step.index : step.index;
      if (at >= 0 && at < size) out.push_back(&value[static_cast<size_t>(at)]);
      return;
    }
    case Step::Kind::All:
      if (value.is_structured())
        for (const Json& one : value) out.push_back(&one);
      return;
    case Step::Kind::Filter:
      if (value.is_array())
        for (const Json& one : value)
          if (holds(step, one)) out.push_back(&one);
      return;
  }
}

std::vector<const Json*> JsonPath::find(const Json& document) const {
  std::vector<const Json*> values = {&document};
  for (const Step& step : steps_) {
    std::vector<const Json*> next;
    for (const Json* value : values) apply(step, *value, next);
    values = std::move(next);
  }
  return values;
}

const Json* JsonPath::first(const Json& document) const {
  std::vector<const Json*> values = find(document);
  return values.empty() ? nullptr : values.front();
}

}  // namespace skiff::registry
