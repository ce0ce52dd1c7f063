#include "proxy/ingress_options.hpp"

#include <fmt/core.h>

#include <charconv>
#include <functional>
#include <string_view>

namespace skiff::proxy {
namespace {

constexpr std::string_view kPrefixes[] = {"nginx.ingress.kubernetes.io/", "ingress.kubernetes.io/"};

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// nginx' sizes: "1024", "8k", "8m", "1g".
bool read_size(std::string text, std::uint64_t& bytes) {
  int shift = 0;
  if (!text.empty()) switch (text.back() | 0x20) {
      case 'k':
        shift = 10;
        break;
      case 'm':
        shift = 20;
        break;
      case 'g':
        shift = 30;
        break;
      default:
        break;
    }
  if (shift != 0) text.pop_back();
  std::optional<std::uint64_t> value = number(text);
  if (!value || *value > (std::uint64_t{1} << 32)) return false;
  bytes = *value << shift;
  return true;
}

bool read_bool(const std::string& text, bool& value) {
  value = text == "true";
  return text == "true" || text == "false";
}

bool read_seconds(const std::string& text, Duration& value) {
  std::optional<std::uint64_t> seconds = number(text);
  if (!seconds || *seconds == 0 || *seconds > 86400) return false;
  value = std::chrono::seconds(*seconds);
  return true;
}

bool read_url(const std::string& text, std::string& value) {
  // It becomes a header's value.
  bool plain = !text.empty();
  for (char c : text) plain = plain && static_cast<unsigned char>(c) > 0x20 && c != 0x7f;
  if (plain) value = text;
  return plain;
}

using Reader = std::function<bool(const std::string&, IngressOptions&)>;

const std::map<std::string, Reader, std::less<>>& readers() {
  static const std::map<std::string, Reader, std::less<>> kReaders = {
      {"rewrite-target",
       [](const std::string& text, IngressOptions& to) {
         std::string path;
         if (!read_url(text, path)) return false;
         to.rewrite_target = path.starts_with('/') ? path : "/" + path;
         return true;
       }},
      {"use-regex",
       [](const std::string& text, IngressOptions& to) { return read_bool(text, to.use_regex); }},
      {"ssl-redirect",
       [](const std::string& text, IngressOptions& to) { return read_bool(text, to.ssl_redirect); }},
      {"force-ssl-redirect",
       [](const std::string& text, IngressOptions& to) { return read_bool(text, to.force_ssl_redirect); }},
      {"proxy-body-size",
       [](const std::string& text, IngressOptions& to) { return read_size(text, to.max_body); }},
      {"app-root", [](const std::string& text,
                      IngressOptions& to) { return text.starts_with('/') && read_url(text, to.app_root); }},
      {"permanent-redirect",
       [](const std::string& text, IngressOptions& to) { return read_url(text, to.redirect); }},
      {"permanent-redirect-code",
       [](const std::string& text, IngressOptions& to) {
         std::optional<std::uint64_t> code = number(text);
         bool known = code && (*code == 301 || *code == 302 || *code == 303 || *code == 307 || *code == 308);
         if (known) to.redirect_status = static_cast<int>(*code);
         return known;
       }},
      {"temporal-redirect",
       [](const std::string& text, IngressOptions& to) {
         to.redirect_status = 302;
         return read_url(text, to.redirect);
       }},
      {"upstream-vhost",
       [](const std::string& text, IngressOptions& to) { return read_url(text, to.upstream_host); }},
      {"backend-protocol",
       [](const std::string& text, IngressOptions& to) {
         to.http2 = text == "GRPC" || text == "grpc";
         return to.http2 || text == "HTTP" || text == "http";
       }},
      {"proxy-connect-timeout",
       [](const std::string& text, IngressOptions& to) { return read_seconds(text, to.connect_timeout); }},
      {"proxy-read-timeout",
       [](const std::string& text, IngressOptions& to) { return read_seconds(text, to.answer_timeout); }}};
  return kReaders;
}

}  // namespace

IngressOptions ingress_options(const std::map<std::string, std::string>& annotations) {
  IngressOptions options;
  for (const auto& [key, value] : annotations)
    for (std::string_view prefix : kPrefixes) {
      if (!key.starts_with(prefix)) continue;
      auto reader = readers().find(std::string_view(key).substr(prefix.size()));
      if (reader != readers().end() && !reader->second(value, options))
        options.problems.push_back(fmt::format("annotation {}: '{}' is not understood", key, value));
    }
  return options;
}

}  // namespace skiff::proxy
