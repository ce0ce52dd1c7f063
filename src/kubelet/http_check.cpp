#include "kubelet/http_check.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "net/dial.hpp"
#include "kubelet/probe_stream.hpp"

namespace skiff::kubelet {
namespace {

constexpr size_t kMaxBody = 10 << 10;

bool has_header(const HttpRequest& request, std::string_view name) {
  return std::ranges::any_of(request.headers, [&](const auto& header) {
    return std::ranges::equal(header.first, name, [](unsigned char a, unsigned char b) {
      return std::tolower(a) == std::tolower(b);
    });
  });
}

std::string request_text(const HttpRequest& request) {
  std::string path = request.path.starts_with("/") ? request.path : "/" + request.path;
  std::string text = "GET " + path + " HTTP/1.1\r\n";
  if (!has_header(request, "Host")) text += "Host: " + request.address.str() + "\r\n";
  if (!has_header(request, "User-Agent")) text += "User-Agent: kube-probe/1.36\r\n";
  if (!has_header(request, "Accept")) text += "Accept: */*\r\n";
  for (const auto& [name, value] : request.headers) text += name + ": " + value + "\r\n";
  return text + "Connection: close\r\n\r\n";
}

/// The port is left out where it is the scheme's own, as Go does.
std::string url_of(const HttpRequest& request) {
  std::string path = request.path.starts_with("/") ? request.path : "/" + request.path;
  return fmt::format("{}://{}{}", request.tls ? "https" : "http", request.address.str(), path);
}

Result<HttpAnswer> exchange(ProbeStream& stream, const std::string& request, TimePoint deadline) {
  TRY(stream.send(request, deadline));
  std::string answer;
  while (answer.size() < kMaxBody + 4096) {
    Result<std::string> part = stream.receive(deadline);
    bool has_head = answer.find("\r\n\r\n") != std::string::npos;
    if (!part.ok() && has_head) break;  // a body without end: what is there is enough
    if (!part.ok() && answer.empty()) return std::move(part).error();
    if (!part.ok() && part.error().code() == Code::Timeout) return std::move(part).error();
    if (!part.ok() || part.value().empty()) break;
    answer += part.value();
  }
  if (answer.empty()) return error(Code::System, "EOF");
  return parse_answer(answer);
}

}  // namespace

Result<UniqueFd> connect_tcp(const UniqueFd& network, const Address& address, TimePoint deadline) {
  Result<net::Address> host = net::parse_address(address.host);
  if (!host.ok()) return error(Code::Invalid, "dial tcp: lookup {}: no such host", address.host);
  Result<UniqueFd> socket =
      net::dial_in(network, {host.value(), static_cast<std::uint16_t>(address.port)}, deadline);
  if (socket.ok()) return socket;
  if (socket.error().code() == Code::Timeout)
    return error(Code::Timeout, "dial tcp {}: i/o timeout", address.str());
  int number = socket.error().sys_errno();
  return Error(Code::System, fmt::format("dial tcp {}: connect: {}", address.str(), go_errno(number)), number);
}

namespace {

/// A header's value in the head of an answer; names in any case.
std::string header_of(std::string_view head, std::string_view name) {
  for (size_t at = head.find("\r\n"); at != std::string_view::npos && at + 2 < head.size(); at = head.find("\r\n", at + 2)) {
    std::string_view line = head.substr(at + 2, head.find("\r\n", at + 2) - at - 2);
    size_t colon = line.find(':');
    if (colon != name.size()) continue;
    bool same = std::ranges::equal(line.substr(0, colon), name, [](unsigned char a, unsigned char b) {
      return std::tolower(a) == std::tolower(b);
    });
    if (!same) continue;
    size_t start = line.find_first_not_of(' ', colon + 1);
    return start == std::string_view::npos ? "" : std::string(line.substr(start));
  }
  return "";
}

}  // namespace

Result<HttpAnswer> parse_answer(std::string_view text) {
  size_t space = text.find(' ');
  HttpAnswer answer;
  if (!text.starts_with("HTTP/1.") || space == std::string_view::npos ||
      std::from_chars(text.data() + space + 1, text.data() + text.size(), answer.status).ec != std::errc())
    return error(Code::BadRequest, "malformed HTTP response \"{}\"", text.substr(0, text.find('\r')));
  size_t body = text.find("\r\n\r\n");
  if (body != std::string_view::npos) answer.body = text.substr(body + 4, kMaxBody);
  answer.location = header_of(text.substr(0, body), "Location");
  return answer;
}

std::optional<HttpRequest> follow(const HttpRequest& request, const std::string& location) {
  HttpRequest next = request;
  std::string_view rest = location;
  bool absolute = false;
  for (auto [scheme, tls] : {std::pair<std::string_view, bool>{"http://", false}, {"https://", true}}) {
    if (!rest.starts_with(scheme)) continue;
    rest.remove_prefix(scheme.size());
    next.tls = tls;
    absolute = true;
  }
  if (!absolute) {
    next.path = location;
    return next;
  }
  std::string_view authority = rest.substr(0, rest.find('/'));
  std::string_view host = authority.substr(0, authority.find(':'));
  if (host != request.address.host) return std::nullopt;
  next.address.port = next.tls ? 443 : 80;
  if (size_t colon = authority.find(':'); colon != std::string_view::npos)
    std::from_chars(authority.data() + colon + 1, authority.data() + authority.size(), next.address.port);
  next.path = rest.find('/') == std::string_view::npos ? "/" : rest.substr(rest.find('/'));
  return next;
}

std::string asked_path(const std::string& path) {
  size_t scheme = path.find("://");
  bool whole = scheme != std::string::npos && scheme > 0 &&
               std::all_of(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(scheme),
                           [](unsigned char c) { return std::isalnum(c) || c == '+' || c == '-' || c == '.'; });
  if (!whole) return path;
  size_t slash = path.find('/', scheme + 3);
  return slash == std::string::npos ? "/" : path.substr(slash);
}

Result<HttpAnswer> http_get(const UniqueFd& network, const HttpRequest& request, TimePoint deadline) {
  std::string doing = fmt::format("Get \"{}\"", url_of(request));
  Result<UniqueFd> socket = connect_tcp(network, request.address, deadline);
  if (!socket.ok()) return std::move(socket).error().in(doing);
  std::unique_ptr<ProbeStream> stream;
  if (request.tls) {
    Result<std::unique_ptr<ProbeStream>> made = tls_stream(std::move(socket).value(), deadline);
    if (!made.ok()) return std::move(made).error().in(doing);
    stream = std::move(made).value();
  } else {
    stream = plain_stream(std::move(socket).value());
  }
  Result<HttpAnswer> answer = exchange(*stream, request_text(request), deadline);
  if (!answer.ok()) return std::move(answer).error().in(doing);
  return answer;
}

}  // namespace skiff::kubelet
