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

/// Calls `each` for the headers that do not belong to the connection they came by.
template <class Each>
void each_end_to_end(const HttpHeaders& headers, Each&& each) {
  bool named = find_header(headers, "connection") != nullptr;
  for (const HttpHeader& header : headers)
    if (!among(kHopByHop, header.name) && !(named && has_token(headers, "connection", header.name))) each(header);
}

void append(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

bool changes_nothing(const HttpHeaderChanges& changes) {
  return changes.set.empty() && changes.add.empty() && changes.remove.empty();
}

void apply(HttpHeaders& headers, const HttpHeaderChanges& changes) {
  for (const std::string& name : changes.remove) remove_header(headers, name);
  for (const HttpHeader& header : changes.set) {
    remove_header(headers, header.name);
    headers.push_back(header);
  }
  for (const HttpHeader& header : changes.add) headers.push_back(header);
}

/// Calls `each(name, value)` for what a server is told of the client.
template <class Each>
void each_client_header(const HttpRequestHead& head, const HttpClientFacts& client, const std::string& request_id,
                        Each&& each) {
  const std::string address = client.peer.address.str();
  const std::string_view scheme = client.tls ? "https" : "http";
  const std::string* known = find_header(head.headers, "x-request-id");
  each("X-Request-ID", known != nullptr ? std::string_view(*known) : std::string_view(request_id));
  each("X-Real-IP", std::string_view(address));
  each("X-Forwarded-For", std::string_view(address));
  each("X-Forwarded-Host", std::string_view(head.authority));
  each("X-Forwarded-Port", std::string_view(std::to_string(client.local.port)));
  for (const char* name : {"X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Scheme"}) each(name, scheme);
  if (const std::string* before = find_header(head.headers, "x-forwarded-for"))
    each("X-Original-Forwarded-For", std::string_view(*before));
}

std::string page(int status) {
  return fmt::format(
      "<html>\r\n<head><title>{0} {1}</title></head>\r\n<body>\r\n<center><h1>{0} {1}</h1></center>\r\n"
      "<hr><center>skiff</center>\r\n</body>\r\n</html>\r\n",
      status, http_reason(status));
}

}  // namespace

namespace {

/// What says how the body is framed and what becomes of the connection: last, so that nothing above can say otherwise.
void append_framing(std::string& out, const HttpRequestHead& head) {
  if (head.body.kind == HttpFraming::Kind::Chunked)
    append(out, "Transfer-Encoding", "chunked");
  else if (head.body.kind == HttpFraming::Kind::Length || find_header(head.headers, "content-length") != nullptr)
    append(out, "Content-Length", std::to_string(head.body.length));
  if (head.upgrade.empty()) return;
  append(out, "Connection", "upgrade");
  append(out, "Upgrade", head.upgrade);
}

/// With the changes that routes ask for.
HttpHeaders changed_request(const HttpRequestHead& head, const HttpForward& forward, const HttpClientFacts& client,
                            const std::string& host, const std::string& request_id) {
  HttpHeaders headers = {{"Host", host}};
  each_end_to_end(head.headers, [&](const HttpHeader& header) {
    if (!among(kToldAnew, header.name)) headers.push_back(header);
  });
  each_client_header(head, client, request_id, [&](std::string_view name, std::string_view value) {
    headers.push_back({std::string(name), std::string(value)});
  });
  apply(headers, forward.request);
  for (const char* name : {"content-length", "transfer-encoding", "connection"}) remove_header(headers, name);
  return headers;
}

}  // namespace

std::string forwarded_request(const HttpRequestHead& head, const HttpForward& forward,
                              const HttpClientFacts& client, const std::string& request_id) {
  const std::string& host = forward.host.empty() ? head.authority : forward.host;
  std::string out;
  out.reserve(1024);
  out.append(head.method).append(" ").append(forward.target.empty() ? head.target : forward.target);
  out += " HTTP/1.1\r\n";
  if (changes_nothing(forward.request)) {
    append(out, "Host", host);
    each_end_to_end(head.headers, [&](const HttpHeader& header) {
      if (!among(kToldAnew, header.name)) append(out, header.name, header.value);
    });
    each_client_header(head, client, request_id,
                       [&](std::string_view name, std::string_view value) { append(out, name, value); });
  } else {
    append_headers(out, changed_request(head, forward, client, host, request_id));
  }
  append_framing(out, head);
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
  const HttpDelivery delivery = delivery_of(request, answer);
  std::string out;
  out.reserve(512);
  out.append("HTTP/1.1 ").append(std::to_string(answer.status)).append(" ").append(answer.reason).append("\r\n");
  auto passes = [&](std::string_view name) {
    return !same_token(name, "transfer-encoding") &&
           (delivery == HttpDelivery::AsIs || !same_token(name, "content-length"));
  };
  if (changes_nothing(changes)) {
    each_end_to_end(answer.headers, [&](const HttpHeader& header) {
      if (passes(header.name)) append(out, header.name, header.value);
    });
  } else {
    HttpHeaders headers;
    each_end_to_end(answer.headers, [&](const HttpHeader& header) { headers.push_back(header); });
    apply(headers, changes);
    std::erase_if(headers, [&](const HttpHeader& header) { return !passes(header.name); });
    append_headers(out, headers);
  }
  if (delivery == HttpDelivery::Chunked) append(out, "Transfer-Encoding", "chunked");
  if (answer.status == 101) {
    append(out, "Connection", "upgrade");
    if (const std::string* protocol = find_header(answer.headers, "upgrade")) append(out, "Upgrade", *protocol);
  } else if (!keep_alive || request.minor_version == 0) {
    append(out, "Connection", keep_alive ? "keep-alive" : "close");
  }
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
