#include "api/names.hpp"

#include <arpa/inet.h>
#include <fmt/core.h>

#include <algorithm>

namespace skiff::api {
namespace {

bool lower(char c) { return c >= 'a' && c <= 'z'; }
bool digit(char c) { return c >= '0' && c <= '9'; }
bool letter(char c) { return lower(c) || (c >= 'A' && c <= 'Z'); }
bool lower_alnum(char c) { return lower(c) || digit(c); }
bool alnum(char c) { return letter(c) || digit(c); }

std::string max_length(size_t length) { return fmt::format("must be no more than {} bytes", length); }

// Matches [edge]([middle]*[edge])?.
template <class Edge, class Middle>
bool framed(std::string_view text, Edge edge, Middle middle) {
  return !text.empty() && edge(text.front()) && edge(text.back()) && std::all_of(text.begin(), text.end(), middle);
}

bool is_dns1123_label(std::string_view text) {
  return framed(text, lower_alnum, [](char c) { return lower_alnum(c) || c == '-'; });
}

bool is_dns1123_subdomain(std::string_view text) {
  for (size_t begin = 0;;) {
    size_t dot = text.find('.', begin);
    if (!is_dns1123_label(text.substr(begin, dot - begin))) return false;
    if (dot == std::string_view::npos) return true;
    begin = dot + 1;
  }
}

bool is_name_part(std::string_view text) {
  return framed(text, alnum, [](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; });
}

constexpr char kNamePart[] =
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

}  // namespace

Problems dns1123_label_problems(std::string_view name) {
  Problems problems;
  if (name.size() > 63) problems.push_back(max_length(63));
  if (!is_dns1123_label(name))
    problems.emplace_back(
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')");
  return problems;
}

Problems dns1123_subdomain_problems(std::string_view name) {
  Problems problems;
  if (name.size() > 253) problems.push_back(max_length(253));
  if (!is_dns1123_subdomain(name))
    problems.emplace_back(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')");
  return problems;
}

Problems dns1035_label_problems(std::string_view name) {
  Problems problems;
  if (name.size() > 63) problems.push_back(max_length(63));
  bool fine = is_dns1123_label(name) && lower(name.front());
  if (!fine)
    problems.emplace_back(
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
        "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation "
        "is '[a-z]([-a-z0-9]*[a-z0-9])?')");
  return problems;
}

Problems qualified_name_problems(std::string_view name) {
  Problems problems;
  size_t slash = name.find('/');
  std::string_view part = name;
  if (slash != std::string_view::npos) {
    std::string_view prefix = name.substr(0, slash);
    part = name.substr(slash + 1);
    if (part.find('/') != std::string_view::npos)
      return {fmt::format("a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. "
                          "'example.com/MyName')",
                          kNamePart + sizeof("name part ") - 1)};
    if (prefix.empty()) problems.emplace_back("prefix part must be non-empty");
    else
      for (const std::string& problem : dns1123_subdomain_problems(prefix)) problems.push_back("prefix part " + problem);
  }
  if (part.empty()) problems.emplace_back("name part must be non-empty");
  else if (part.size() > 63) problems.push_back("name part " + max_length(63));
  if (!is_name_part(part)) problems.emplace_back(kNamePart);
  return problems;
}

Problems label_value_problems(std::string_view value) {
  Problems problems;
  if (value.size() > 63) problems.push_back(max_length(63));
  if (!value.empty() && !is_name_part(value))
    problems.emplace_back(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
        "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')");
  return problems;
}

Problems path_segment_problems(std::string_view name) {
  if (name == "." || name == "..") return {fmt::format("may not be '{}'", name)};
  Problems problems;
  for (char c : {'/', '%'})
    if (name.find(c) != std::string_view::npos) problems.push_back(fmt::format("may not contain '{}'", c));
  return problems;
}

Problems env_var_name_problems(std::string_view name) {
  // Relaxed since 1.34: any printable ASCII but '='.
  bool printable = std::all_of(name.begin(), name.end(), [](char c) { return c >= ' ' && c <= '~' && c != '='; });
  if (printable) return {};
  return {"a valid environment variable name must consist only of printable ASCII characters other than '='"};
}

Problems config_map_key_problems(std::string_view key) {
  Problems problems;
  if (key.size() > 253) problems.push_back(max_length(253));
  bool fine = !key.empty() && std::all_of(key.begin(), key.end(),
                                          [](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; });
  if (!fine)
    problems.emplace_back(
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME', "
        " or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')");
  else if (key == "." || key == "..") problems.push_back(fmt::format("must not be '{}'", key));
  else if (key.starts_with("..")) problems.emplace_back("must not start with '..'");
  return problems;
}

Problems port_name_problems(std::string_view name) {
  Problems problems;
  if (name.size() > 15) problems.push_back(max_length(15));
  if (!std::all_of(name.begin(), name.end(), [](char c) { return lower_alnum(c) || c == '-'; }))
    problems.emplace_back("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (std::none_of(name.begin(), name.end(), lower)) problems.emplace_back("must contain at least one letter (a-z)");
  if (name.find("--") != std::string_view::npos) problems.emplace_back("must not contain consecutive hyphens");
  if (!name.empty() && (name.front() == '-' || name.back() == '-'))
    problems.emplace_back("must not begin or end with a hyphen");
  return problems;
}

Problems port_number_problems(int port) {
  if (port >= 1 && port <= 65535) return {};
  return {"must be between 1 and 65535, inclusive"};
}

bool is_ip(std::string_view text) {
  std::string copy(text);
  unsigned char address[16];
  return ::inet_pton(AF_INET, copy.c_str(), address) == 1 || ::inet_pton(AF_INET6, copy.c_str(), address) == 1;
}

}  // namespace skiff::api
