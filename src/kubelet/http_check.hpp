#pragma once
// The one HTTP request a probe or hook makes, from inside a network namespace.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/fd.hpp"

namespace skiff::kubelet {

struct Address {
  std::string host;  // an IPv4 address
  int port = 0;
  std::string str() const { return host + ":" + std::to_string(port); }
};

/// A connection, or an error worded as Go words it ("dial tcp 10.0.0.1:80: connect: connection refused").
Result<UniqueFd> connect_tcp(const UniqueFd& network, const Address& address, TimePoint deadline);

struct HttpRequest {
  Address address;
  bool tls = false;
  std::string path;
  std::vector<std::pair<std::string, std::string>> headers;
};
struct HttpAnswer {
  int status = 0;
  std::string body;  // its first 10 KiB
  std::string location;  // of a redirect
};
/// Errors as Go's client words them: `Get "http://10.0.0.1:80/": dial tcp ...`.
Result<HttpAnswer> http_get(const UniqueFd& network, const HttpRequest& request, TimePoint deadline);

/// The request that a redirect asks for; nullopt: it leads to another host.
std::optional<HttpRequest> follow(const HttpRequest& request, const std::string& location);

/// What an HTTP action's path asks for: the path and query alone where somebody wrote a whole URL there.
std::string asked_path(const std::string& path);

/// The head and body of an answer that was read to its end. BadRequest: not HTTP.
Result<HttpAnswer> parse_answer(std::string_view text);

}  // namespace skiff::kubelet
