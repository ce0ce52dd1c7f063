// The formats of strings that kube-apiserver checks (k8s.io/kube-openapi/pkg/validation/strfmt). Formats that it does
// not know hold anything.

#include <re2/re2.h>

#include <arpa/inet.h>

#include <map>

#include "api/names.hpp"
#include "api/values.hpp"
#include "base/encoding.hpp"
#include "registry/schema_validation.hpp"

namespace skiff::registry {
namespace {

using Check = bool (*)(const std::string& text);

bool is_ipv4(const std::string& text) {
  in_addr address{};
  return ::inet_pton(AF_INET, text.c_str(), &address) == 1;
}

bool is_ipv6(const std::string& text) {
  in6_addr address{};
  return ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

bool is_cidr(const std::string& text) {
  static const RE2 kLength("[0-9]{1,3}");
  size_t slash = text.find('/');
  if (slash == std::string::npos || !RE2::FullMatch(text.substr(slash + 1), kLength)) return false;
  std::string address = text.substr(0, slash);
  int bits = std::stoi(text.substr(slash + 1));
  return (is_ipv4(address) && bits <= 32) || (is_ipv6(address) && bits <= 128);
}

bool is_date(const std::string& text) {
  static const RE2 kDate("[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])");
  return RE2::FullMatch(text, kDate);
}

bool is_date_time(const std::string& text) { return api::Time::parse(text).ok(); }

bool is_duration(const std::string& text) {
  static const RE2 kGo("[+-]?(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+|[+-]?0");
  static const RE2 kWords(
      "\\s*[0-9]+\\s*(ns|nano|us|µs|micro|ms|milli|s|sec|seconds?|m|min|minutes?|h|hr|hours?|d|days?|w|wk|weeks?)\\s*");
  return RE2::FullMatch(text, kGo) || RE2::FullMatch(text, kWords);
}

bool is_byte(const std::string& text) { return base64_decode(text).has_value(); }

bool is_uuid(const std::string& text) {
  static const RE2 kUuid("(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}");
  return RE2::FullMatch(text, kUuid);
}
bool is_uuid3(const std::string& text) {
  static const RE2 kUuid("(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}");
  return RE2::FullMatch(text, kUuid);
}
bool is_uuid4(const std::string& text) {
  static const RE2 kUuid("(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}");
  return RE2::FullMatch(text, kUuid);
}
bool is_uuid5(const std::string& text) {
  static const RE2 kUuid("(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}");
  return RE2::FullMatch(text, kUuid);
}
bool is_email(const std::string& text) {
  static const RE2 kEmail("[^@\\s<>()\\[\\],;:\"]+@[^@\\s<>()\\[\\],;:\"]+");
  return RE2::FullMatch(text, kEmail);
}
bool is_hostname(const std::string& text) {
  static const RE2 kHost("([a-zA-Z0-9\\p{L}]([a-zA-Z0-9\\p{L}-]{0,61}[a-zA-Z0-9\\p{L}])?)(\\.[a-zA-Z0-9\\p{L}]"
                         "([a-zA-Z0-9\\p{L}-]{0,61}[a-zA-Z0-9\\p{L}])?)*\\.?");
  return text.size() <= 255 && RE2::FullMatch(text, kHost);
}
// A URI that has a scheme, or an absolute path (url.ParseRequestURI).
bool is_uri(const std::string& text) {
  static const RE2 kUri("([a-zA-Z][a-zA-Z0-9+.-]*:[^\\s\\x00-\\x1f\\x7f]+|/[^\\s\\x00-\\x1f\\x7f]*)");
  return RE2::FullMatch(text, kUri);
}
bool is_mac(const std::string& text) {
  static const RE2 kMac("(?i)([0-9a-f]{2}([:-][0-9a-f]{2}){5}|[0-9a-f]{2}([:-][0-9a-f]{2}){7}|"
                        "[0-9a-f]{4}(\\.[0-9a-f]{4}){2}|[0-9a-f]{4}(\\.[0-9a-f]{4}){3})");
  return RE2::FullMatch(text, kMac);
}
bool is_hex_color(const std::string& text) {
  static const RE2 kColor("#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})");
  return RE2::FullMatch(text, kColor);
}
bool is_rgb_color(const std::string& text) {
  static const RE2 kColor("rgb\\(\\s*(\\d{1,2}|1\\d\\d|2[0-4]\\d|25[0-5])\\s*,\\s*(\\d{1,2}|1\\d\\d|2[0-4]\\d|25[0-5])"
                          "\\s*,\\s*(\\d{1,2}|1\\d\\d|2[0-4]\\d|25[0-5])\\s*\\)");
  return RE2::FullMatch(text, kColor);
}
bool is_object_id(const std::string& text) {
  static const RE2 kId("[0-9a-fA-F]{24}");
  return RE2::FullMatch(text, kId);
}
bool is_short_name(const std::string& text) { return api::dns1123_label_problems(text).empty(); }
bool is_long_name(const std::string& text) { return api::dns1123_subdomain_problems(text).empty(); }

const std::map<std::string, Check>& checks() {
  static const std::map<std::string, Check> kChecks = {
      {"ipv4", is_ipv4},         {"ipv6", is_ipv6},           {"cidr", is_cidr},
      {"date", is_date},         {"date-time", is_date_time}, {"datetime", is_date_time},
      {"duration", is_duration}, {"byte", is_byte},           {"uuid", is_uuid},
      {"uuid3", is_uuid3},       {"uuid4", is_uuid4},         {"uuid5", is_uuid5},
      {"email", is_email},       {"hostname", is_hostname},   {"uri", is_uri},
      {"mac", is_mac},           {"hexcolor", is_hex_color},  {"rgbcolor", is_rgb_color},
      {"bsonobjectid", is_object_id}, {"k8s-short-name", is_short_name}, {"k8s-long-name", is_long_name},
  };
  return kChecks;
}

}  // namespace

bool has_format(const std::string& format, const std::string& text) {
  auto found = checks().find(format);
  return found == checks().end() || found->second(text);
}

}  // namespace skiff::registry
