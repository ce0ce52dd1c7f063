#include "net/http_rewrite.hpp"

#include <algorithm>

namespace skiff::net {
namespace {

/// Of one connection only (RFC 9110, 7.6.1), or told anew.
constexpr std::string_view kHopByHop[] = {"connection", "keep-alive",        "proxy-connection", "te",
                                          "trailer",    "transfer-encoding", "upgrade"};
constexpr std::string_view kToldAnew[] = {"host",
                                          "content-length",
                                          "expect",
                                          "x-real-ip",
                                          "x-forwarded-for",
                                          "x-forwarded-host",
                                          "x-forwarded-port",
                                          "x-forwarded-proto",
                                          "x-forwarded-scheme",
                                          "x-scheme",
                                          "x-request-id",
                                          "x-original-forwarded-for"};

template <class Names>
bool among(const Names& names, std::string_view name) {
  return std::any_of(std::begin(names), std::end(names),
                     [&](std::string_view one) { return same_token(one, name); });
}

/// Without what belongs to the connection it came by.
HttpHeaders end_to_end(const HttpHeaders& headers) {
  HttpHeaders kept;
  for (const HttpHeader& header : headers)
    if (!among(kHopByHop, header.name) && !has_token(headers, "connection", header.name))
      kept.push_back(header);
  return kept;
}

void apply(HttpHeaders& headers, const HttpHeaderChanges& changes) {
  for (const std::string& name : changes.remove) remove_header(headers, name);
  for (const HttpHeader& header : changes.set) {
    remove_header(headers, header.name);
    headers.push_back(header);
  }
  for (const HttpHeader& header : changes.add) headers.push_back(header);
}

HttpHeaders client_headers(const HttpRequestHead& head, const HttpClientFacts& client,
                           const std::string& request_id) {
  std::string address = client.peer.address.str(), scheme = client.tls ? "https" : "http";
  const std::string* known = find_header(head.headers, "x-request-id");
  HttpHeaders headers = {{"X-Request-ID", known != nullptr ? *known : request_id},
                         {"X-Real-IP", address},
                         {"X-Forwarded-For", address},
                         {"X-Forwarded-Host", head.authority},
                         {"X-Forwarded-Port", std::to_string(client.local.port)},
                         {"X-Forwarded-Proto", scheme},
                         {"X-Forwarded-Scheme", scheme},
                         {"X-Scheme", scheme}};
  if (const std::string* before = find_header(head.headers, "x-forwarded-for"))
    headers.push_back({"X-Original-Forwarded-For", *before});
  return headers;
}

std::string page(int status) {
  return fmt::format(
      "<html>\r\n<head><title>{0} {1}</title></head>\r\n<body>\r\n<center><h1>{0} {1}</h1></center>\r\n"
      "<hr><center>skiff</center>\r\n</body>\r\n</html>\r\n",
      status, http_reason(status));
}

}  // namespace

std::string forwarded_request(const HttpRequestHead& head, const HttpForward& forward,
                              const HttpClientFacts& client, const std::string& request_id) {
  HttpHeaders headers = {{"Host", forward.host.empty() ? head.authority : forward.host}};
  for (HttpHeader& header : end_to_end(head.headers))
    if (!among(kToldAnew, header.name)) headers.push_back(std::move(header));
  for (HttpHeader& header : client_headers(head, client, request_id)) headers.push_back(std::move(header));
  apply(headers, forward.request);
  // Last, so that nothing above can say otherwise.
  remove_header(headers, "content-length");
  remove_header(headers, "transfer-encoding");
  remove_header(headers, "connection");
  if (head.body.kind == HttpFraming::Kind::Chunked)
    headers.push_back({"Transfer-Encoding", "chunked"});
  else if (head.body.kind == HttpFraming::Kind::Length ||
           find_header(head.headers, "content-length") != nullptr)
    headers.push_back({"Content-Length", std::to_string(head.body.length)});
  if (!head.upgrade.empty()) {
    headers.push_back({"Connection", "upgrade"});
    headers.push_back({"Upgrade", head.upgrade});
  }
  std::string out =
      fmt::format("{} {} HTTP/1.1\r\n", head.method, forward.target.empty() ? head.target : forward.target);
  append_headers(out, headers);
  return out + "\r\n";
}

HttpDelivery delivery_of(const HttpRequestHead& request, const HttpResponseHead& answer) {
  switch (answer.body.kind) {
    case HttpFraming::Kind::None:
    case HttpFraming::Kind::Length:
      return HttpDelivery::AsIs;
    case HttpFraming::Kind::Chunked:
    case HttpFraming::Kind::UntilClose:
      break;
  }
  return request.minor_version == 1 ? HttpDelivery::Chunked : HttpDelivery::UntilClose;
}

std::string forwarded_answer(const HttpRequestHead& request, const HttpResponseHead& answer,
                             const HttpHeaderChanges& changes, bool keep_alive) {
  HttpHeaders headers = end_to_end(answer.headers);
  apply(headers, changes);
  remove_header(headers, "transfer-encoding");
  if (delivery_of(request, answer) != HttpDelivery::AsIs) remove_header(headers, "content-length");
  if (delivery_of(request, answer) == HttpDelivery::Chunked)
    headers.push_back({"Transfer-Encoding", "chunked"});
  if (answer.status == 101) {
    headers.push_back({"Connection", "upgrade"});
    if (const std::string* protocol = find_header(answer.headers, "upgrade"))
      headers.push_back({"Upgrade", *protocol});
  } else if (!keep_alive || request.minor_version == 0) {
    headers.push_back({"Connection", keep_alive ? "keep-alive" : "close"});
  }
  std::string out = fmt::format("HTTP/1.1 {} {}\r\n", answer.status, answer.reason);
  append_headers(out, headers);
  return out + "\r\n";
}

std::string own_answer(const HttpRequestHead* request, const HttpAnswer& answer, bool keep_alive) {
  std::string body = answer.body.empty() ? page(answer.status) : answer.body;
  std::string out = fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n", answer.status,
                                http_reason(answer.status), answer.content_type, body.size());
  append_headers(out, answer.headers);
  out += keep_alive ? "\r\n" : "Connection: close\r\n\r\n";
  return request != nullptr && request->method == "HEAD" ? out : out + body;
}

}  // namespace skiff::net
