#include "client/yaml.hpp"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

namespace skiff::client {

using nlohmann::json;

namespace {

constexpr int kMaxDepth = 256;

Error malformed(std::string_view why) { return error(Code::BadRequest, "error decoding YAML: {}", why); }

bool one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, text) != words.end();
}

bool integer(std::string_view text, int base, json& into) {
  std::int64_t value = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (failure != std::errc{} || end != text.data() + text.size() || text.empty()) return false;
  into = value;
  return true;
}

bool number(std::string_view text, json& into) {
  std::string_view digits = text;
  bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  if (digits.empty() || !(std::isdigit(static_cast<unsigned char>(digits[0])) || digits[0] == '.')) return false;
  int base = 10;
  if (digits.starts_with("0x")) base = 16;
  else if (digits.starts_with("0b")) base = 2;
  else if (digits.starts_with("0o") || (digits.size() > 1 && digits[0] == '0' && digits.find_first_not_of("01234567") == digits.npos)) base = 8;
  if (base != 10) {
    digits.remove_prefix(digits.size() > 1 && std::isalpha(static_cast<unsigned char>(digits[1])) ? 2 : 1);
    if (!integer(digits, base, into)) return false;
    if (negative) into = -into.get<std::int64_t>();
    return true;
  }
  if (integer(negative ? text : digits, 10, into)) return true;
  if (digits.find_first_not_of("0123456789.eE+-") != digits.npos) return false;
  double value = 0;
  auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (failure != std::errc{} || end != digits.data() + digits.size()) return false;
  into = negative ? -value : value;
  return true;
}

json scalar(const YAML::Node& node) {
  const std::string& text = node.Scalar();
  if (node.Tag() == "!" || node.Tag() == "tag:yaml.org,2002:str") return text;  // quoted
  if (one_of(text, {"", "~", "null", "Null", "NULL"})) return nullptr;
  if (one_of(text, {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})) return true;
  if (one_of(text, {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})) return false;
  json value;
  return number(text, value) ? value : json(text);
}

Result<json> convert(const YAML::Node& node, int depth) {
  if (depth > kMaxDepth) return malformed("exceeded max depth");
  if (node.IsScalar()) return scalar(node);
  if (node.IsSequence()) {
    json list = json::array();
    for (const YAML::Node& item : node) {
      TRY_ASSIGN(json value, convert(item, depth + 1));
      list.push_back(std::move(value));
    }
    return list;
  }
  if (!node.IsMap()) return json();
  json map = json::object();
  for (const auto& entry : node) {
    if (!entry.first.IsScalar()) return malformed("a key is not a scalar");
    TRY_ASSIGN(map[entry.first.Scalar()], convert(entry.second, depth + 1));
  }
  return map;
}

}  // namespace

Result<std::string> json_from_yaml(std::string_view text) {
  if (size_t first = text.find_first_not_of(" \t\r\n"); first != text.npos && text[first] == '{') {
    json parsed = json::parse(text, nullptr, false);  // most senders write JSON, which needs no YAML
    if (!parsed.is_discarded()) return std::string(text);
  }
  try {
    TRY_ASSIGN(json document, convert(YAML::Load(std::string(text)), 0));
    return document.dump();
  } catch (const std::exception& problem) {
    return malformed(problem.what());
  }
}

}  // namespace skiff::client
