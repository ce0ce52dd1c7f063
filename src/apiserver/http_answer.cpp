#include "apiserver/http_answer.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "apiserver/http.hpp"

namespace skiff::apiserver {

namespace {

constexpr std::array<std::string_view, 10> kHopHeaders{
    "Connection", "Keep-Alive",    "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade",
    "Host",       "Authorization", "Content-Length"};

Error malformed() { return Error(Code::Unavailable, "malformed HTTP response"); }

}  // namespace

bool same_header(std::string_view a, std::string_view b) {
  return a.size() == b.size() && !HeaderLess()(a, b) && !HeaderLess()(b, a);
}

bool is_hop_header(std::string_view name) {
  return std::ranges::any_of(kHopHeaders, [name](std::string_view known) { return same_header(known, name); });
}

Result<AnswerHead> parse_answer_head(std::string_view head) {
  AnswerHead answer;
  bool status = head.starts_with("HTTP/1.") && head.size() > 12 &&
                std::from_chars(head.data() + 9, head.data() + 12, answer.status).ec == std::errc{};
  if (!status || answer.status < 100) return malformed();
  for (size_t at = head.find("\r\n") + 2; at < head.size();) {
    size_t stop = head.find("\r\n", at);
    if (stop == head.npos || stop == at) break;
    std::string_view line = head.substr(at, stop - at);
    at = stop + 2;
    size_t colon = line.find(':');
    if (colon == line.npos) return malformed();
    std::string_view name = line.substr(0, colon);
    size_t value = line.find_first_not_of(" \t", colon + 1);
    std::string_view content = value == line.npos ? "" : line.substr(value);
    if (same_header(name, "Transfer-Encoding")) answer.chunked = has_token(content, "chunked");
    if (size_t length = 0; same_header(name, "Content-Length") &&
                           std::from_chars(content.data(), content.data() + content.size(), length).ec == std::errc{})
      answer.length = length;
    if (!is_hop_header(name)) answer.headers.emplace(name, content);
  }
  return answer;
}

Result<Reply> parse_answer(std::string_view text) {
  if (text.empty()) return Error(Code::Unavailable, "EOF");
  size_t end = text.find("\r\n\r\n");
  if (end == text.npos) return malformed();
  TRY_ASSIGN(AnswerHead head, parse_answer_head(text.substr(0, end + 4)));
  std::string_view rest = text.substr(end + 4);
  std::string body(rest);
  if (head.chunked) {
    ChunkedDecoder decoder(rest.size());
    if (decoder.feed(rest) != ChunkedDecoder::State::Done) return Error(Code::Unavailable, "unexpected EOF");
    body = decoder.take_body();
  } else if (head.length && *head.length < body.size()) {
    body.resize(*head.length);
  }
  Reply reply{head.status, "", std::move(head.headers), nullptr};
  reply.body = std::make_shared<std::string>(std::move(body));
  return reply;
}

}  // namespace skiff::apiserver
