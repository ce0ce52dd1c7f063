#include "api/selector.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include "api/gen/meta.hpp"
#include "api/names.hpp"
#include "base/encoding.hpp"

namespace skiff::api {
namespace {

using Operator = Selector::Operator;

Error cannot_parse(std::string_view what) {
  return error(Code::BadRequest, "unable to parse requirement: {}", what);
}

// Words and the symbols = == != ! ( ) , < >; "in" and "notin" are words.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  std::string next() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
    if (at_ == text_.size()) return "";
    if (is_symbol(text_[at_])) return symbol();
    size_t begin = at_;
    while (at_ < text_.size() && !is_space(text_[at_]) && !is_symbol(text_[at_])) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }
  std::string peek() {
    size_t at = at_;
    std::string token = next();
    at_ = at;
    return token;
  }

 private:
  static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
  static bool is_symbol(char c) { return std::string_view("=!(),<>").find(c) != std::string_view::npos; }
  std::string symbol() {
    char c = text_[at_++];
    bool doubled = (c == '=' || c == '!') && at_ < text_.size() && text_[at_] == '=';
    if (doubled) ++at_;
    return doubled ? std::string{c, '='} : std::string{c};
  }

  std::string_view text_;
  size_t at_ = 0;
};

bool is_word(const std::string& token) {
  return !token.empty() && std::string_view("=!(),<>").find(token[0]) == std::string_view::npos;
}

std::string found(const std::string& token) { return token.empty() ? "end of string" : "'" + token + "'"; }

Result<std::vector<std::string>> parse_set(Lexer& lexer) {
  if (std::string open = lexer.next(); open != "(")
    return cannot_parse(fmt::format("found {} expected: '('", found(open)));
  std::vector<std::string> values;
  bool want_value = true;
  for (;;) {
    std::string token = lexer.next();
    if (is_word(token)) {
      values.push_back(token);
      want_value = false;
    } else if (token == "," || token == ")") {
      if (want_value) values.emplace_back();  // "in (,)" means the empty value
      if (token == ")") break;
      want_value = true;
    } else {
      return cannot_parse(fmt::format("found {} expected: ',', or ')'", found(token)));
    }
  }
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

Status check(const Selector::Requirement& requirement) {
  if (std::vector<std::string> problems = qualified_name_problems(requirement.key); !problems.empty())
    return cannot_parse(fmt::format("key: Invalid value: \"{}\": {}", requirement.key, join(problems, "; ")));
  for (const std::string& value : requirement.values)
    if (std::vector<std::string> problems = label_value_problems(value); !problems.empty())
      return cannot_parse(fmt::format("values[0][{}]: Invalid value: \"{}\": {}", requirement.key, value,
                                      join(problems, "; ")));
  return ok();
}

Result<Selector::Requirement> parse_requirement(Lexer& lexer) {
  Selector::Requirement requirement{.key = {}, .op = Operator::Exists, .values = {}};
  if (lexer.peek() == "!") {
    lexer.next();
    requirement.op = Operator::DoesNotExist;
  }
  requirement.key = lexer.next();
  if (!is_word(requirement.key))
    return cannot_parse(fmt::format("found {}, expected: identifier", found(requirement.key)));
  std::string op = lexer.peek();
  if (requirement.op == Operator::DoesNotExist || op.empty() || op == ",") return requirement;
  lexer.next();
  if (op == "in" || op == "notin") {
    requirement.op = op == "in" ? Operator::In : Operator::NotIn;
    TRY_ASSIGN(requirement.values, parse_set(lexer));
    return requirement;
  }
  if (op == "=" || op == "==") requirement.op = Operator::In;
  else if (op == "!=") requirement.op = Operator::NotIn;
  else if (op == ">") requirement.op = Operator::GreaterThan;
  else if (op == "<") requirement.op = Operator::LessThan;
  else
    return cannot_parse(fmt::format("found {}, expected: in, notin, =, ==, !=, gt, lt", found(op)));
  std::string value = lexer.peek();
  if (is_word(value)) lexer.next();
  else if (!value.empty() && value != ",") return cannot_parse(fmt::format("found {}, expected: identifier", found(value)));
  requirement.values = {is_word(value) ? value : ""};
  return requirement;
}

std::optional<std::int64_t> integer(const std::string& text) {
  std::int64_t value = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool holds(const Selector::Requirement& requirement, const Labels& labels) {
  auto label = labels.find(requirement.key);
  bool present = label != labels.end();
  auto listed = [&] {
    return std::find(requirement.values.begin(), requirement.values.end(), label->second) != requirement.values.end();
  };
  switch (requirement.op) {
    case Operator::In: return present && listed();
    case Operator::NotIn: return !present || !listed();
    case Operator::Exists: return present;
    case Operator::DoesNotExist: return !present;
    case Operator::GreaterThan:
    case Operator::LessThan: {
      if (!present) return false;
      std::optional<std::int64_t> have = integer(label->second), bound = integer(requirement.values[0]);
      return have && bound && (requirement.op == Operator::GreaterThan ? *have > *bound : *have < *bound);
    }
  }
  return false;
}

std::string text_of(const Selector::Requirement& requirement) {
  const std::string& key = requirement.key;
  std::string values = join(requirement.values, ",");
  bool single = requirement.values.size() == 1;
  switch (requirement.op) {
    case Operator::In: return single ? key + "=" + values : fmt::format("{} in ({})", key, values);
    case Operator::NotIn: return single ? key + "!=" + values : fmt::format("{} notin ({})", key, values);
    case Operator::Exists: return key;
    case Operator::DoesNotExist: return "!" + key;
    case Operator::GreaterThan: return key + ">" + values;
    case Operator::LessThan: return key + "<" + values;
  }
  return key;
}

}  // namespace

Result<Selector> Selector::parse(std::string_view text) {
  Selector selector;
  Lexer lexer(text);
  if (lexer.peek().empty()) return selector;
  for (;;) {
    TRY_ASSIGN(Requirement requirement, parse_requirement(lexer));
    TRY(check(requirement));
    selector.requirements_.push_back(std::move(requirement));
    std::string separator = lexer.next();
    if (separator.empty()) break;
    if (separator != ",") return cannot_parse(fmt::format("found {}, expected: ',' or 'end of string'", found(separator)));
  }
  std::stable_sort(selector.requirements_.begin(), selector.requirements_.end(),
                   [](const Requirement& a, const Requirement& b) { return a.key < b.key; });
  return selector;
}

Result<Selector> Selector::from(const api::LabelSelector& source) {
  Selector selector = from(source.matchLabels);
  static const std::map<std::string, Operator> kOperators = {{"In", Operator::In},
                                                             {"NotIn", Operator::NotIn},
                                                             {"Exists", Operator::Exists},
                                                             {"DoesNotExist", Operator::DoesNotExist}};
  for (const LabelSelectorRequirement& expression : source.matchExpressions) {
    auto op = kOperators.find(expression.operator_);
    if (op == kOperators.end())
      return error(Code::Invalid, "\"{}\" is not a valid label selector operator", expression.operator_);
    selector.requirements_.push_back({expression.key, op->second, expression.values});
  }
  return selector;
}

Selector Selector::from(const Labels& labels) {
  Selector selector;
  for (const auto& [key, value] : labels) selector.requirements_.push_back({key, Operator::In, {value}});
  return selector;
}

Selector Selector::nothing() {
  Selector selector;
  selector.nothing_ = true;
  return selector;
}

bool Selector::matches(const Labels& labels) const {
  if (nothing_) return false;
  return std::all_of(requirements_.begin(), requirements_.end(),
                     [&](const Requirement& requirement) { return holds(requirement, labels); });
}

std::string Selector::text() const {
  std::vector<std::string> parts;
  for (const Requirement& requirement : requirements_) parts.push_back(text_of(requirement));
  return join(parts, ",");
}

Result<FieldSelector> FieldSelector::parse(std::string_view text) {
  FieldSelector selector;
  for (const std::string& part : split(text, ',')) {
    if (part.empty()) continue;
    size_t at = part.find_first_of("=!");
    bool negated = at != std::string::npos && part[at] == '!';
    if (at == std::string::npos || (negated && part.compare(at, 2, "!=") != 0))
      return error(Code::BadRequest, "invalid selector: '{}'; can't understand '{}'", text, part);
    bool wide = negated || part.compare(at, 2, "==") == 0;
    selector.terms_.push_back({part.substr(0, at), !negated, part.substr(at + (wide ? 2 : 1))});
  }
  return selector;
}

}  // namespace skiff::api
