#pragma once
// Requests passed on to another HTTP server, and its answers back: aggregated API servers, and what is proxied to.

#include <functional>
#include <memory>
#include <string>

#include "apiserver/http_answer.hpp"
#include "apiserver/message.hpp"
#include "apiserver/outbound.hpp"

namespace skiff::apiserver {

/// Changes the bytes of an answer's body on their way. Used by one thread.
class BodyFilter {
 public:
  virtual ~BodyFilter() = default;
  virtual std::string feed(std::string_view piece) = 0;
  /// What was held back, at the end of the body.
  virtual std::string finish() = 0;
};

/// Where one request goes and how its answer comes back.
struct Onward {
  std::string text;  // the request as it is sent
  std::function<Result<std::unique_ptr<Outbound>>(Outbound::Deadline deadline)> connect;
  /// The answer when the server cannot be reached, or says nothing that is HTTP.
  std::function<Reply(const Error& why)> unreachable;
  /// Looks at the head of the answer, may change it, and makes a filter for its body or null. May be empty.
  std::function<std::unique_ptr<BodyFilter>(AnswerHead& head)> look = {};
  bool patient = false;  // the answer may pause for as long as it likes; watches and followed logs always may
};

/// The lines of a request that every server gets: the headers of `request` but those of its connection and those that
/// `drop` picks, an upgrade if one is wanted, X-Forwarded-For, and the body.
std::string onward_request(const Request& request, std::string_view target, std::string_view host,
                           const std::function<bool(std::string_view name)>& drop, std::string_view more_headers);

/// One header line; nothing when `value` would break out of it.
void add_header(std::string& text, std::string_view name, std::string_view value);

/// Every answer is passed on as it comes, so watches run; after an upgrade the two connections are one.
Response pass_on(const Request& request, Onward onward);

}  // namespace skiff::apiserver
