#include "image/reference.hpp"

#include <algorithm>

#include "image/digest.hpp"

// The grammar is that of github.com/distribution/reference, which docker and Kubernetes use:
//   [domain "/"] path [":" tag] ["@" digest]

namespace skiff::image {

namespace {

constexpr size_t kNameLimit = 255;
constexpr size_t kTagLimit = 128;
constexpr size_t kSha256Digits = 64;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_alnum(char c) { return is_digit(c) || is_lower(c) || is_upper(c); }
bool is_lower_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }

Error invalid_format() { return Error(Code::Invalid, "invalid reference format"); }

// [a-z0-9]+ joined by one of  .  _  __  or dashes.
bool is_path_component(std::string_view text) {
  size_t at = 0;
  while (true) {
    size_t start = at;
    while (at < text.size() && (is_lower(text[at]) || is_digit(text[at]))) ++at;
    if (at == start) return false;
    if (at == text.size()) return true;
    if (text[at] == '-') {
      while (at < text.size() && text[at] == '-') ++at;
    } else if (text.substr(at).starts_with("__")) {
      at += 2;
    } else if (text[at] == '.' || text[at] == '_') {
      ++at;
    } else {
      return false;
    }
  }
}

// Host names, IPv4 and bracketed IPv6 addresses, each with an optional port.
bool is_domain(std::string_view text) {
  std::string_view host = text;
  size_t colon = text.rfind(':');
  size_t bracket = text.rfind(']');
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
    std::string_view port = text.substr(colon + 1);
    if (port.empty() || !std::all_of(port.begin(), port.end(), is_digit)) return false;
    host = text.substr(0, colon);
  }
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    return std::all_of(host.begin(), host.end(),
                       [](char c) { return is_lower_hex(c) || c == ':' || (c >= 'A' && c <= 'F'); });
  }
  while (true) {
    std::string_view label = host.substr(0, host.find('.'));
    if (label.empty() || label.front() == '-' || label.back() == '-') return false;
    if (!std::all_of(label.begin(), label.end(), [](char c) { return is_alnum(c) || c == '-'; }))
      return false;
    if (label.size() == host.size()) return true;
    host.remove_prefix(label.size() + 1);
  }
}

bool is_tag(std::string_view text) {
  auto is_word = [](char c) { return is_alnum(c) || c == '_'; };
  if (text.empty() || text.size() > kTagLimit || !is_word(text[0])) return false;
  return std::all_of(text.begin(), text.end(), [&](char c) { return is_word(c) || c == '.' || c == '-'; });
}

// "localhost/x", "host:5000/x", "a.b/x" and "Host/x" begin with a domain; "library/x" does not.
bool looks_like_domain(std::string_view first) {
  return first == "localhost" ||
         std::any_of(first.begin(), first.end(), [](char c) { return c == '.' || c == ':' || is_upper(c); });
}

Status check_path(std::string_view path) {
  if (std::any_of(path.begin(), path.end(), is_upper))
    return error(Code::Invalid, "invalid reference format: repository name ({}) must be lowercase", path);
  while (true) {
    std::string_view component = path.substr(0, path.find('/'));
    if (!is_path_component(component)) return invalid_format();
    if (component.size() == path.size()) return ok();
    path.remove_prefix(component.size() + 1);
  }
}

}  // namespace

std::string Reference::canonical() const {
  if (!digest.empty()) return name() + "@" + digest;
  return name() + ":" + tag;
}

std::string Reference::display() const {
  std::string text = domain == "docker.io" ? path : name();
  if (domain == "docker.io" && path.starts_with("library/"))
    text = path.substr(std::string_view("library/").size());
  if (!tag.empty()) text += ":" + tag;
  if (!digest.empty()) text += "@" + digest;
  return text;
}

Result<Reference> parse_reference(std::string_view text) {
  Reference reference;
  std::string_view rest = text;
  if (rest.size() == kSha256Digits && std::all_of(rest.begin(), rest.end(), is_lower_hex))
    return error(Code::Invalid, "invalid repository name ({}), cannot specify 64-byte hexadecimal strings",
                 text);
  if (size_t at = rest.find('@'); at != std::string_view::npos) {
    reference.digest = rest.substr(at + 1);
    if (!is_digest(reference.digest)) return invalid_format();
    rest = rest.substr(0, at);
  }
  size_t slash = rest.find('/');
  reference.domain = "docker.io";
  if (slash != std::string_view::npos && looks_like_domain(rest.substr(0, slash))) {
    reference.domain = rest.substr(0, slash);
    if (reference.domain == "index.docker.io") reference.domain = "docker.io";
    if (!is_domain(reference.domain)) return invalid_format();
    rest.remove_prefix(slash + 1);
  }
  if (size_t colon = rest.rfind(':');
      colon != std::string_view::npos && rest.find('/', colon) == std::string_view::npos) {
    reference.tag = rest.substr(colon + 1);
    if (!is_tag(reference.tag)) return invalid_format();
    rest = rest.substr(0, colon);
  }
  TRY(check_path(rest));
  bool official = reference.domain == "docker.io" && rest.find('/') == std::string_view::npos;
  reference.path = (official ? "library/" : "") + std::string(rest);
  if (reference.name().size() > kNameLimit)
    return error(Code::Invalid,
                 "invalid reference format: repository name must not be more than {} characters", kNameLimit);
  if (reference.tag.empty() && reference.digest.empty()) reference.tag = "latest";
  return reference;
}

}  // namespace skiff::image
