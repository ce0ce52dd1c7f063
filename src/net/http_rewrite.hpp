#pragma once
// What a proxy changes in the heads that it passes on. Pure.

#include <string>

#include "net/http_routes.hpp"

namespace skiff::net {

/// Who asks, and where.
struct HttpClientFacts {
  Endpoint peer, local;
  std::string listener;
  bool tls = false;
};

/// The head that the server behind gets.
std::string forwarded_request(const HttpRequestHead& head, const HttpForward& forward,
                              const HttpClientFacts& client, const std::string& request_id);

/// How a body reaches the client.
enum class HttpDelivery : std::uint8_t { AsIs, Chunked, UntilClose };
HttpDelivery delivery_of(const HttpRequestHead& request, const HttpResponseHead& answer);

/// The head that the client gets of a server's answer.
std::string forwarded_answer(const HttpRequestHead& request, const HttpResponseHead& answer,
                             const HttpHeaderChanges& changes, bool keep_alive);

/// A whole answer of our own.
std::string own_answer(const HttpRequestHead* request, const HttpAnswer& answer, bool keep_alive);

}  // namespace skiff::net
