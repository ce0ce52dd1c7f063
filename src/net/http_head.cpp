#include "net/http_head.hpp"

#include <algorithm>
#include <charconv>

namespace skiff::net {
namespace {

constexpr size_t kMaxHeaders = 128;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_token_char(char c) {
  return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}
bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token_char);
}
/// No control characters but the tab; bytes beyond ASCII are what old programs send.
bool is_field_text(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    auto byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
  });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Calls `each` for every element of a comma-separated list until it returns true.
template <class Each>
bool any_element(std::string_view list, Each&& each) {
  while (!list.empty()) {
    size_t comma = std::min(list.find(','), list.size());
    if (each(trimmed(list.substr(0, comma)))) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

std::optional<std::uint64_t> decimal(std::string_view text) {
  std::uint64_t value = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  bool digits = !text.empty() && is_digit(text.front());
  if (!digits || failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Lines that end in CRLF. A bare CR or LF is no line end and no text.
struct Lines {
  std::string_view left;
  std::optional<std::string_view> next() {
    size_t end = left.find("\r\n");
    if (end == std::string_view::npos) return std::nullopt;
    std::string_view line = left.substr(0, end);
    left.remove_prefix(end + 2);
    return line;
  }
};

HttpRefusal bad(std::string why) { return {400, std::move(why)}; }

std::optional<HttpRefusal> read_headers(Lines& lines, HttpHeaders& headers) {
  while (std::optional<std::string_view> line = lines.next()) {
    if (line->empty()) return std::nullopt;
    if (headers.size() >= kMaxHeaders) return HttpRefusal{431, "too many headers"};
    size_t colon = line->find(':');
    if (colon == std::string_view::npos) return bad("a header without a colon");
    // Also catches a folded line and a space before the colon.
    if (!is_token(line->substr(0, colon))) return bad("a header name with other characters");
    std::string_view value = trimmed(line->substr(colon + 1));
    if (!is_field_text(value)) return bad("a header value with control characters");
    headers.push_back({std::string(line->substr(0, colon)), std::string(value)});
  }
  return std::nullopt;
}

size_t count(const HttpHeaders& headers, std::string_view name) {
  return static_cast<size_t>(std::count_if(
      headers.begin(), headers.end(), [&](const HttpHeader& one) { return same_token(one.name, name); }));
}

/// Content-Length and Transfer-Encoding must say one thing. `otherwise` is what neither of them means.
std::optional<HttpRefusal> read_framing(const HttpHeaders& headers, int minor, HttpFraming& framing) {
  size_t lengths = count(headers, "content-length"), encodings = count(headers, "transfer-encoding");
  if (lengths > 1) return bad("more than one Content-Length");
  if (encodings > 1) return bad("more than one Transfer-Encoding");
  if (lengths == 1 && encodings == 1) return bad("both Content-Length and Transfer-Encoding");
  if (encodings == 1) {
    if (minor == 0) return bad("Transfer-Encoding in HTTP/1.0");
    if (!same_token(*find_header(headers, "transfer-encoding"), "chunked"))
      return HttpRefusal{501, "a Transfer-Encoding other than chunked"};
    framing = {HttpFraming::Kind::Chunked, 0};
  } else if (lengths == 1) {
    std::optional<std::uint64_t> length = decimal(*find_header(headers, "content-length"));
    if (!length) return bad("a Content-Length that is no number");
    framing = {*length == 0 ? HttpFraming::Kind::None : HttpFraming::Kind::Length, *length};
  }
  return std::nullopt;
}

bool is_host(std::string_view host) {
  if (host.starts_with('['))
    return host.ends_with(']') && host.find_first_not_of("0123456789abcdefABCDEF:.", 1) == host.size() - 1;
  return std::all_of(host.begin(), host.end(), [](char c) {
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || c == '-' || c == '.' || c == '_';
  });
}

/// "Example.com:8080" is "example.com"; nullopt: nothing that can be a host.
std::optional<std::string> host_of(std::string_view authority) {
  size_t colon = authority.rfind(':');
  bool bracketed = authority.ends_with(']');
  if (colon != std::string_view::npos && !bracketed) {
    std::string_view port = authority.substr(colon + 1);
    if (!port.empty() && !decimal(port)) return std::nullopt;
    authority = authority.substr(0, colon);
  }
  if (!is_host(authority)) return std::nullopt;
  std::string host(authority);
  std::transform(host.begin(), host.end(), host.begin(), lower);
  if (host.ends_with('.')) host.pop_back();
  return host;
}

std::optional<HttpRefusal> read_request_line(std::string_view line, HttpRequestHead& head) {
  size_t first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return bad("a request line without three parts");
  head.method = line.substr(0, first);
  head.target = line.substr(first + 1, last - first - 1);
  std::string_view version = line.substr(last + 1);
  if (!is_token(head.method)) return bad("a method with other characters");
  if (version != "HTTP/1.1" && version != "HTTP/1.0")
    return version.starts_with("HTTP/") ? HttpRefusal{505, "another version of HTTP"}
                                        : bad("no HTTP version");
  head.minor_version = version.back() - '0';
  bool plain = std::all_of(head.target.begin(), head.target.end(),
                           [](char c) { return static_cast<unsigned char>(c) > 0x20 && c != 0x7f; });
  if (head.target.empty() || !plain) return bad("a target with spaces or control characters");
  return std::nullopt;
}

/// "http://host/path" is what a client of a forward proxy sends; its host is the one that counts.
std::optional<HttpRefusal> read_target(HttpRequestHead& head) {
  if (head.method == "CONNECT") return HttpRefusal{405, "CONNECT"};
  if (head.target.starts_with('/') || (head.target == "*" && head.method == "OPTIONS")) return std::nullopt;
  std::string_view target = head.target;
  size_t scheme = target.find("://");
  if (scheme == std::string_view::npos ||
      !(same_token(target.substr(0, scheme), "http") || same_token(target.substr(0, scheme), "https")))
    return bad("a target that is no path");
  target.remove_prefix(scheme + 3);
  size_t slash = std::min(target.find_first_of("/?"), target.size());
  head.authority = target.substr(0, slash);
  std::string path(target.substr(slash));
  head.target = path.starts_with('/') ? path : "/" + path;
  return std::nullopt;
}

std::optional<HttpRefusal> read_host(HttpRequestHead& head) {
  size_t hosts = count(head.headers, "host");
  if (hosts > 1) return bad("more than one Host");
  if (hosts == 0 && head.minor_version == 1) return bad("no Host");
  if (head.authority.empty() && hosts == 1) head.authority = *find_header(head.headers, "host");
  std::optional<std::string> host = host_of(head.authority);
  if (!host) return bad("a Host with other characters");
  head.host = *host;
  return std::nullopt;
}

void read_connection(HttpRequestHead& head) {
  bool close = has_token(head.headers, "connection", "close");
  bool keep = has_token(head.headers, "connection", "keep-alive");
  head.keep_alive = head.minor_version == 1 ? !close : keep && !close;
  const std::string* upgrade = find_header(head.headers, "upgrade");
  if (upgrade != nullptr && has_token(head.headers, "connection", "upgrade") && head.minor_version == 1)
    head.upgrade = *upgrade;
  const std::string* expect = find_header(head.headers, "expect");
  head.expects_continue = expect != nullptr && same_token(*expect, "100-continue");
}

/// Where the head ends; 0: not yet.
size_t end_of_head(std::string_view bytes) {
  size_t end = bytes.find("\r\n\r\n");
  return end == std::string_view::npos ? 0 : end + 4;
}

}  // namespace

bool same_token(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

const std::string* find_header(const HttpHeaders& headers, std::string_view name) {
  for (const HttpHeader& header : headers)
    if (same_token(header.name, name)) return &header.value;
  return nullptr;
}

void remove_header(HttpHeaders& headers, std::string_view name) {
  std::erase_if(headers, [&](const HttpHeader& header) { return same_token(header.name, name); });
}

bool has_token(const HttpHeaders& headers, std::string_view name, std::string_view token) {
  return std::any_of(headers.begin(), headers.end(), [&](const HttpHeader& header) {
    return same_token(header.name, name) &&
           any_element(header.value, [&](std::string_view one) { return same_token(one, token); });
  });
}

HttpParsed<HttpRequestHead> parse_request_head(std::string_view bytes) {
  HttpParsed<HttpRequestHead> parsed;
  // Some clients end a body with one line end too many.
  size_t skipped = bytes.starts_with("\r\n") ? 2 : 0;
  bytes.remove_prefix(skipped);
  size_t end = end_of_head(bytes);
  if (end == 0 || end > kMaxHttpHead) {
    if (bytes.size() > kMaxHttpHead) parsed.refusal = HttpRefusal{431, "the head is too long"};
    // A line that ends in a bare LF would never be complete.
    else if (size_t line = bytes.find('\n');
             line != std::string_view::npos && (line == 0 || bytes[line - 1] != '\r'))
      parsed.refusal = bad("a bare line feed");
    return parsed;
  }
  parsed.used = skipped + end;
  Lines lines{bytes.substr(0, end)};
  HttpRequestHead head;
  parsed.refusal = read_request_line(*lines.next(), head);
  if (!parsed.refusal) parsed.refusal = read_headers(lines, head.headers);
  if (!parsed.refusal) parsed.refusal = read_target(head);
  if (!parsed.refusal) parsed.refusal = read_host(head);
  if (!parsed.refusal) parsed.refusal = read_framing(head.headers, head.minor_version, head.body);
  if (parsed.refusal) return parsed;
  read_connection(head);
  parsed.head = std::move(head);
  return parsed;
}

HttpParsed<HttpResponseHead> parse_response_head(std::string_view bytes, bool to_head) {
  HttpParsed<HttpResponseHead> parsed;
  size_t end = end_of_head(bytes);
  if (end == 0 || end > 2 * kMaxHttpHead) {
    if (bytes.size() > 2 * kMaxHttpHead) parsed.refusal = HttpRefusal{502, "the head is too long"};
    return parsed;
  }
  parsed.used = end;
  Lines lines{bytes.substr(0, end)};
  std::string_view line = *lines.next();
  HttpResponseHead head;
  std::uint64_t status = line.size() >= 12 ? decimal(line.substr(9, 3)).value_or(0) : 0;
  bool version = line.starts_with("HTTP/1.1 ") || line.starts_with("HTTP/1.0 ");
  if (!version || status < 100) parsed.refusal = HttpRefusal{502, "no HTTP/1 status line"};
  if (!parsed.refusal) parsed.refusal = read_headers(lines, head.headers);
  int minor = version ? line[7] - '0' : 1;
  if (!parsed.refusal) parsed.refusal = read_framing(head.headers, minor, head.body);
  if (parsed.refusal) {
    parsed.refusal->status = 502;
    return parsed;
  }
  head.status = static_cast<int>(status);
  head.reason = line.size() > 13 ? line.substr(13) : "";
  bool close = has_token(head.headers, "connection", "close");
  bool keep = has_token(head.headers, "connection", "keep-alive");
  head.keep_alive = minor == 1 ? !close : keep && !close;
  bool bodyless = to_head || head.status < 200 || head.status == 204 || head.status == 304;
  bool unframed =
      find_header(head.headers, "content-length") == nullptr && head.body.kind != HttpFraming::Kind::Chunked;
  if (bodyless)
    head.body = {};
  else if (unframed)
    head.body = {HttpFraming::Kind::UntilClose, 0};
  parsed.head = std::move(head);
  return parsed;
}

HttpHeaders trailer_headers(std::string_view lines) {
  HttpHeaders headers, kept;
  if (lines.empty()) return kept;
  Lines reader{lines};
  if (read_headers(reader, headers)) return kept;
  for (HttpHeader& header : headers) {
    bool frames = false;
    for (std::string_view one : {"transfer-encoding", "content-length", "content-encoding", "content-type", "content-range",
                                 "trailer", "host", "connection", "upgrade", "te", "authorization", "set-cookie", "cookie",
                                 "location", "cache-control", "expect"})
      frames = frames || same_token(header.name, one);
    if (!frames) kept.push_back(std::move(header));
  }
  return kept;
}

std::optional<std::string> normal_path(std::string_view target) {
  std::string_view raw = target.substr(0, target.find_first_of("?#"));
  std::string decoded;
  for (size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '%') {
      decoded += raw[i];
      continue;
    }
    unsigned value = 0;
    if (i + 2 >= raw.size()) return std::nullopt;
    auto [end, failure] = std::from_chars(raw.data() + i + 1, raw.data() + i + 3, value, 16);
    if (failure != std::errc() || end != raw.data() + i + 3 || value == 0) return std::nullopt;
    decoded += static_cast<char>(value);
    i += 2;
  }
  std::vector<std::string_view> segments;
  bool directory = false;
  for (std::string_view left = decoded; !left.empty();) {
    left.remove_prefix(1);  // the slash
    size_t slash = std::min(left.find('/'), left.size());
    std::string_view segment = left.substr(0, slash);
    left.remove_prefix(slash);
    directory = segment.empty() || segment == "." || segment == "..";
    if (segment == "..") {
      if (segments.empty()) return std::nullopt;
      segments.pop_back();
    } else if (!directory) {
      segments.push_back(segment);
    }
  }
  std::string path;
  for (std::string_view segment : segments) path.append("/").append(segment);
  if (directory || path.empty()) path += '/';
  return path;
}

std::string_view http_reason(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 101:
      return "Switching Protocols";
    case 200:
      return "OK";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Not Allowed";
    case 408:
      return "Request Time-out";
    case 413:
      return "Request Entity Too Large";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Temporarily Unavailable";
    case 504:
      return "Gateway Time-out";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Status";
  }
}

void append_headers(std::string& out, const HttpHeaders& headers) {
  for (const HttpHeader& header : headers)
    out.append(header.name).append(": ").append(header.value).append("\r\n");
}

}  // namespace skiff::net
