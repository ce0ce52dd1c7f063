#include "apiserver/html_links.hpp"

#include <algorithm>
#include <array>

namespace skiff::apiserver {

namespace {

constexpr size_t kMaxTag = 64U << 10;  // beyond it "<" is taken as text

struct LinkingElement {
  std::string_view element, attributes;  // space-separated
};

// The elements and attributes that Kubernetes rewrites.
constexpr LinkingElement kLinking[] = {
    {"a", "href"},          {"applet", "codebase"},     {"area", "href"},
    {"audio", "src"},       {"base", "href"},           {"blockquote", "cite"},
    {"body", "background"}, {"button", "formaction"},   {"command", "icon"},
    {"del", "cite"},        {"embed", "src"},           {"form", "action"},
    {"frame", "longdesc src"}, {"head", "profile"},     {"html", "manifest"},
    {"iframe", "longdesc src"}, {"img", "longdesc src usemap"}, {"input", "src usemap formaction"},
    {"ins", "cite"},        {"link", "href"},           {"object", "classid codebase data usemap"},
    {"q", "cite"},          {"script", "src"},          {"source", "src"},
    {"video", "poster src"}};

// Their content is text, whatever it looks like.
constexpr std::array<std::string_view, 8> kRawText{"script", "style",   "textarea", "title",
                                                   "iframe", "noframes", "xmp",     "noembed"};

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  return out;
}

std::string_view attributes_of(std::string_view element) {
  auto row = std::ranges::find(kLinking, element, &LinkingElement::element);
  return row == std::end(kLinking) ? std::string_view() : row->attributes;
}

bool lists(std::string_view words, std::string_view word) {
  for (size_t at = words.find(word); at != words.npos; at = words.find(word, at + 1)) {
    size_t end = at + word.size();
    if ((at == 0 || words[at - 1] == ' ') && (end == words.size() || words[end] == ' ')) return true;
  }
  return false;
}

// The length of the tag at the front of `text`, or npos while its ">" is missing; quoted ones do not count.
size_t tag_length(std::string_view text) {
  char quote = 0;
  for (size_t i = 1; i < text.size(); ++i) {
    if (quote != 0) {
      if (text[i] == quote) quote = 0;
    } else if ((text[i] == '"' || text[i] == '\'') && text[i - 1] == '=') {
      quote = text[i];
    } else if (text[i] == '>') {
      return i + 1;
    }
  }
  return text.npos;
}

std::string element_of(std::string_view tag) {
  size_t end = 1;
  while (end < tag.size() && !is_space(tag[end]) && tag[end] != '>' && tag[end] != '/') ++end;
  return lower(tag.substr(1, end - 1));
}

struct Attribute {
  std::string_view name;
  size_t begin = 0, end = 0;  // of the value in the tag, without its quotes
};

// The next attribute of `tag` from `at` on, which moves behind it. False: there is none.
bool next_attribute(std::string_view tag, size_t& at, Attribute& out) {
  while (at < tag.size() && (is_space(tag[at]) || tag[at] == '/')) ++at;
  size_t name = at;
  while (at < tag.size() && !is_space(tag[at]) && tag[at] != '=' && tag[at] != '>') ++at;
  if (at == name) return false;
  out = {tag.substr(name, at - name), at, at};
  size_t sign = at;
  while (sign < tag.size() && is_space(tag[sign])) ++sign;
  if (sign >= tag.size() || tag[sign] != '=') return true;
  at = sign + 1;
  while (at < tag.size() && is_space(tag[at])) ++at;
  bool quoted = at < tag.size() && (tag[at] == '"' || tag[at] == '\'');
  char quote = quoted ? tag[at++] : '\0';
  out.begin = at;
  while (at < tag.size() && (quoted ? tag[at] != quote : !is_space(tag[at]) && tag[at] != '>')) ++at;
  out.end = at;
  if (quoted && at < tag.size()) ++at;
  return true;
}

}  // namespace

std::string through_proxy(std::string_view url, const ProxyPlace& place) {
  std::string_view rest = url, host;
  size_t scheme = rest.find_first_of(":/?#");
  if (scheme != rest.npos && scheme > 0 && rest[scheme] == ':') {
    rest.remove_prefix(scheme + 1);
    if (!rest.starts_with("//")) return std::string(url);  // mailto: and the like
  }
  if (rest.starts_with("//")) {
    size_t end = std::min(rest.find_first_of("/?#", 2), rest.size());
    host = rest.substr(2, end - 2);
    rest.remove_prefix(end);
  }
  bool foreign = !host.empty() && host != place.host && host != place.request_host;
  if (foreign || !rest.starts_with('/')) return std::string(url);
  bool asked_host = !host.empty() && host == place.request_host;
  std::string out(asked_host ? url.substr(0, url.size() - rest.size()) : std::string_view());
  if (!rest.starts_with(place.prefix)) out.append(place.prefix);
  return out.append(rest);
}

std::string HtmlLinks::feed(std::string_view piece) {
  held_.append(piece);
  std::string out;
  for (;;) {
    size_t before = held_.size();
    out.append(take_text());
    if (!held_.empty() && raw_end_.empty()) out.append(take_markup());
    if (held_.size() == before || held_.empty()) return out;
  }
}

std::string HtmlLinks::finish() { return std::exchange(held_, {}); }

// Everything before the next tag; within raw text before its end tag, as far as it is certain.
std::string HtmlLinks::take_text() {
  size_t end = std::min(held_.find('<'), held_.size());
  while (!raw_end_.empty() && end < held_.size()) {
    if (held_.size() - end < raw_end_.size() && raw_end_.starts_with(lower(held_.substr(end)))) break;
    if (lower(held_.substr(end, raw_end_.size())) == raw_end_) {
      raw_end_.clear();
      break;
    }
    end = std::min(held_.find('<', end + 1), held_.size());
  }
  std::string text = held_.substr(0, end);
  held_.erase(0, end);
  return text;
}

// One tag or comment at the front, once all of it is there.
std::string HtmlLinks::take_markup() {
  bool comment = held_.starts_with("<!--");
  if (held_.size() < 4 && std::string_view("<!--").starts_with(held_)) return "";
  size_t length = comment ? held_.find("-->", 4) : tag_length(held_);
  if (comment && length != held_.npos) length += 3;
  if (length == held_.npos) {
    if (held_.size() <= kMaxTag) return "";
    length = 1;
  }
  std::string markup = held_.substr(0, length);
  held_.erase(0, length);
  if (comment || length == 1) return markup;
  std::string element = element_of(markup);
  if (std::ranges::find(kRawText, element) != kRawText.end() && !markup.ends_with("/>")) raw_end_ = "</" + element;
  return rewritten(markup);
}

std::string HtmlLinks::rewritten(std::string_view tag) const {
  std::string element = element_of(tag);
  std::string_view linking = attributes_of(element);
  if (linking.empty()) return std::string(tag);
  std::string out;
  size_t copied = 0, at = 1 + element.size();
  for (Attribute attribute; next_attribute(tag, at, attribute);) {
    if (attribute.begin == attribute.end || !lists(linking, lower(attribute.name))) continue;
    out.append(tag.substr(copied, attribute.begin - copied));
    out.append(rewrite_(tag.substr(attribute.begin, attribute.end - attribute.begin)));
    copied = attribute.end;
  }
  return out.append(tag.substr(copied));
}

}  // namespace skiff::apiserver
