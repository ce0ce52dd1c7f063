#pragma once
// Heads of HTTP/1 messages, read strictly: what two programs could understand in two ways is refused, because
// the one behind a proxy may take the other meaning (request smuggling).

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace skiff::net {

struct HttpHeader {
  std::string name, value;
};
using HttpHeaders = std::vector<HttpHeader>;

/// Compares header names and tokens: ASCII without case.
bool same_token(std::string_view a, std::string_view b);
/// The first header of that name, or null.
const std::string* find_header(const HttpHeaders& headers, std::string_view name);
void remove_header(HttpHeaders& headers, std::string_view name);
/// Whether a list such as "keep-alive, Upgrade" has a token.
bool has_token(const HttpHeaders& headers, std::string_view name, std::string_view token);

/// How a message's body ends.
struct HttpFraming {
  enum class Kind : std::uint8_t { None, Length, Chunked, UntilClose } kind = Kind::None;
  std::uint64_t length = 0;  // of Length
};

struct HttpRequestHead {
  std::string method;
  std::string target;     // origin form, as it was sent: "/path?query", or "*"
  std::string host;       // lower case, without port
  std::string authority;  // the Host header as it was sent
  int minor_version = 1;
  HttpHeaders headers;
  HttpFraming body;
  bool keep_alive = true;
  std::string upgrade;  // the protocol asked for; empty: none
  bool expects_continue = false;
};

struct HttpResponseHead {
  int status = 0;
  std::string reason;
  HttpHeaders headers;
  HttpFraming body;
  bool keep_alive = true;
};

inline constexpr size_t kMaxHttpHead = 32 << 10;

/// A head that was refused: what to answer.
struct HttpRefusal {
  int status;
  std::string why;
};

/// What stands at the beginning of `bytes`.
template <class Head>
struct HttpParsed {
  std::optional<Head> head;
  size_t used = 0;  // bytes of the head
  std::optional<HttpRefusal> refusal;
  bool incomplete() const { return !head && !refusal; }
};

HttpParsed<HttpRequestHead> parse_request_head(std::string_view bytes);
/// `to_head`: it answers a HEAD request, so there is no body whatever the headers say.
HttpParsed<HttpResponseHead> parse_response_head(std::string_view bytes, bool to_head);

/// The path of a target as routes see it: without query, %XX decoded, "." and ".." resolved, "//" merged.
/// nullopt: a bad escape, a NUL, or ".." above the root.
std::optional<std::string> normal_path(std::string_view target);

/// The lines after a chunked body, without fields that frame, route or rewrite messages (RFC 9110, 6.5.1); none of them
/// where one is malformed.
HttpHeaders trailer_headers(std::string_view lines);

std::string_view http_reason(int status);

/// "Name: value" lines, without an empty line.
void append_headers(std::string& out, const HttpHeaders& headers);

}  // namespace skiff::net
