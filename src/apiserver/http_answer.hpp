#pragma once
// Answers of HTTP servers that the API server calls: proxied ones, webhooks, aggregated API servers.

#include <optional>
#include <string>
#include <string_view>

#include "apiserver/message.hpp"
#include "base/error.hpp"

namespace skiff::apiserver {

/// Whether two names are of one header.
bool same_header(std::string_view a, std::string_view b);

/// Headers that concern one connection only and are not passed on (RFC 9110, 7.6.1), and who asked whom.
bool is_hop_header(std::string_view name);

struct AnswerHead {
  int status = 0;
  Headers headers;                // but those of the connection
  bool chunked = false;
  std::optional<size_t> length;   // of the body, when it is told
};

/// `head` ends with its empty line. Unavailable: it is no HTTP/1 answer.
Result<AnswerHead> parse_answer_head(std::string_view head);

/// An answer whose connection has ended.
Result<Reply> parse_answer(std::string_view text);

}  // namespace skiff::apiserver
