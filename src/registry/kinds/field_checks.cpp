#include "registry/kinds/field_checks.hpp"

#include <arpa/inet.h>
#include <fmt/core.h>

#include <algorithm>

#include "api/json.hpp"

namespace skiff::registry {
namespace {

using api::quote;

constexpr size_t kMaxAnnotationBytes = 256 * 1024;

std::vector<std::string> listed(Words words) {
  std::vector<std::string> list;
  for (std::string_view word : words) list.emplace_back(word);
  return list;
}

bool is_percent(std::string_view text) {
  if (text.size() < 2 || text.back() != '%') return false;
  text.remove_suffix(1);
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

void add_problems(const Path& path, std::string_view value, const api::Problems& problems, FieldErrors& errors) {
  for (const std::string& problem : problems) errors.invalid(path, quote(value), problem);
}
void check_dns_label(std::string_view value, const Path& path, FieldErrors& errors) {
  add_problems(path, value, api::dns1123_label_problems(value), errors);
}
void check_dns_subdomain(std::string_view value, const Path& path, FieldErrors& errors) {
  add_problems(path, value, api::dns1123_subdomain_problems(value), errors);
}
void check_qualified_name(std::string_view value, const Path& path, FieldErrors& errors) {
  add_problems(path, value, api::qualified_name_problems(value), errors);
}

void check_labels(const std::map<std::string, std::string>& labels, const Path& path, FieldErrors& errors) {
  for (const auto& [key, value] : labels) {
    check_qualified_name(key, path, errors);
    add_problems(path, value, api::label_value_problems(value), errors);
  }
}

void check_annotations(const std::map<std::string, std::string>& annotations, const Path& path, FieldErrors& errors) {
  size_t total = 0;
  for (const auto& [key, value] : annotations) {
    std::string lowered = key;  // case does not matter here
    for (char& c : lowered) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    add_problems(path, key, api::qualified_name_problems(lowered), errors);
    total += key.size() + value.size();
  }
  if (total > kMaxAnnotationBytes) errors.too_long(path, kMaxAnnotationBytes);
}

bool is_one_of(std::string_view value, Words allowed) {
  return std::find(allowed.begin(), allowed.end(), value) != allowed.end();
}
void check_one_of(std::string_view value, const Path& path, Words allowed, FieldErrors& errors) {
  if (!is_one_of(value, allowed)) errors.not_supported(path, value, listed(allowed));
}
void require_one_of(std::string_view value, const Path& path, Words allowed, FieldErrors& errors) {
  if (value.empty()) errors.required(path);
  else check_one_of(value, path, allowed, errors);
}
bool require(std::string_view value, const Path& path, FieldErrors& errors) {
  if (value.empty()) errors.required(path);
  return !value.empty();
}

void require_nonnegative(std::int64_t value, const Path& path, FieldErrors& errors) {
  if (value < 0) errors.invalid(path, std::to_string(value), kNonnegative);
}
void require_nonnegative(const api::Quantity& value, const Path& path, FieldErrors& errors) {
  if (value < api::Quantity::of(0)) errors.invalid(path, quote(value.text()), kNonnegative);
}
void require_positive(std::int64_t value, const Path& path, FieldErrors& errors) {
  if (value <= 0) errors.invalid(path, std::to_string(value), kPositive);
}
void require_between(std::int64_t value, std::int64_t low, std::int64_t high, const Path& path, FieldErrors& errors) {
  if (value < low || value > high)
    errors.invalid(path, std::to_string(value), fmt::format("must be between {} and {}, inclusive", low, high));
}

void check_port(int port, const Path& path, FieldErrors& errors) { require_between(port, 1, 65535, path, errors); }
void check_port_or_name(const api::IntOrString& port, const Path& path, FieldErrors& errors) {
  if (port.is_string) add_problems(path, port.text, api::port_name_problems(port.text), errors);
  else check_port(port.number, path, errors);
}

void check_percent_or_number(const api::IntOrString& value, const Path& path, FieldErrors& errors) {
  if (!value.is_string) return require_nonnegative(std::int64_t{value.number}, path, errors);
  if (!is_percent(value.text))
    errors.invalid(path, quote(value.text),
                   "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
                   "regex used for validation is '[0-9]+%')");
}
void check_not_above_100_percent(const api::IntOrString& value, const Path& path, FieldErrors& errors) {
  if (!value.is_string || !is_percent(value.text)) return;
  std::string digits = value.text.substr(0, value.text.size() - 1);
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  if (digits.size() > 3 || (digits.size() == 3 && digits > "100"))
    errors.invalid(path, quote(value.text), "must not be greater than 100%");
}
bool is_zero(const api::IntOrString& value) {
  if (!value.is_string) return value.number == 0;
  return is_percent(value.text) && value.text.find_first_not_of('0') == value.text.size() - 1;
}

void check_ip(std::string_view value, const Path& path, FieldErrors& errors) {
  if (!api::is_ip(value))
    errors.invalid(path, quote(value), "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
}
void check_not_special_ip(std::string_view ip, const Path& path, FieldErrors& errors) {
  auto refuse = [&](const char* why) { errors.invalid(path, quote(ip), why); };
  if (ip == "0.0.0.0" || ip == "::") refuse("may not be unspecified (0.0.0.0 or ::)");
  if (ip.starts_with("127.") || ip == "::1") refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)");
  if (ip.starts_with("169.254.") || ip.starts_with("fe80:"))
    refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
  if (ip.starts_with("224.0.0.") || ip.starts_with("ff02:"))
    refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
}
bool is_cidr(std::string_view text) {
  size_t slash = text.find('/');
  if (slash == std::string_view::npos || !api::is_ip(text.substr(0, slash))) return false;
  std::string_view length = text.substr(slash + 1);
  if (length.empty() || length.size() > 3 || (length.size() > 1 && length[0] == '0')) return false;
  int bits = 0;
  for (char c : length) {
    if (c < '0' || c > '9') return false;
    bits = bits * 10 + (c - '0');
  }
  return bits <= (text.find(':') == std::string_view::npos ? 32 : 128);
}
void check_cidr(std::string_view value, const Path& path, FieldErrors& errors) {
  if (!is_cidr(value))
    errors.invalid(path, quote(value), "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
}

void check_label_selector(const api::LabelSelector& selector, const Path& path, FieldErrors& errors) {
  check_labels(selector.matchLabels, path.child("matchLabels"), errors);
  for (size_t i = 0; i < selector.matchExpressions.size(); ++i) {
    const api::LabelSelectorRequirement& expression = selector.matchExpressions[i];
    const Path at = path.child("matchExpressions", i);
    if (is_one_of(expression.operator_, {"In", "NotIn"})) {
      if (expression.values.empty())
        errors.required(at.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (is_one_of(expression.operator_, {"Exists", "DoesNotExist"})) {
      if (!expression.values.empty())
        errors.forbidden(at.child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else {
      errors.invalid(at.child("operator"), quote(expression.operator_), "not a valid selector operator");
    }
    check_qualified_name(expression.key, at.child("key"), errors);
    for (size_t j = 0; j < expression.values.size(); ++j)
      add_problems(at.child("values", j), expression.values[j], api::label_value_problems(expression.values[j]),
                   errors);
  }
}
bool is_empty(const api::LabelSelector& selector) {
  return selector.matchLabels.empty() && selector.matchExpressions.empty();
}

void check_descending_path(std::string_view value, const Path& path, FieldErrors& errors) {
  if (value.starts_with('/')) errors.invalid(path, quote(value), "must be a relative path");
  for (size_t begin = 0; begin <= value.size();) {
    size_t end = std::min(value.find('/', begin), value.size());
    if (value.substr(begin, end - begin) == "..") {
      errors.invalid(path, quote(value), "must not contain '..'");
      return;
    }
    begin = end + 1;
  }
}

std::string json_of(const api::TypeInfo& type, const void* value) { return api::encode_json(type, value); }
std::string json_of(const api::LabelSelector& selector) { return json_of(api::type_of<api::LabelSelector>(), &selector); }
std::string json_of(const std::map<std::string, std::string>& labels) {
  std::string text;
  for (const auto& [key, value] : labels)
    text += fmt::format("{}{}:{}", text.empty() ? "" : ",", quote(key), quote(value));
  return "{" + text + "}";
}
std::string json_of(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : ",") + quote(text);
  return "[" + all + "]";
}

}  // namespace skiff::registry
