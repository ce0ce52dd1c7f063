#include "kubelet/http_check.hpp"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "net/dial.hpp"
#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

constexpr size_t kMaxBody = 10 << 10;

std::string go_text(int number) {
  std::string text = ::strerror(number);
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

/// False when the deadline passed first.
bool wait_ready(const UniqueFd& fd, short events, TimePoint deadline) {
  auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - SystemClock().now()).count();
  pollfd waiting{fd.get(), events, 0};
  return left > 0 && sys::retry_eintr([&] { return ::poll(&waiting, 1, static_cast<int>(left)); }) > 0;
}

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

Error too_late() {
  return error(Code::Timeout, "context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
}

Result<HttpAnswer> exchange(const UniqueFd& socket, const std::string& request, TimePoint deadline) {
  std::string_view left = request;
  while (!left.empty()) {
    if (!wait_ready(socket, POLLOUT, deadline)) return too_late();
    ssize_t sent = ::send(socket.get(), left.data(), left.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR)
      return Error(Code::System, "write: " + go_text(errno), errno);
    if (sent > 0) left.remove_prefix(static_cast<size_t>(sent));
  }
  std::string answer;
  while (answer.size() < kMaxBody + 4096) {
    if (!wait_ready(socket, POLLIN, deadline)) {
      if (answer.find("\r\n\r\n") != std::string::npos) break;  // a body without end: what is there is enough
      return too_late();
    }
    char part[4096];
    ssize_t got = ::recv(socket.get(), part, sizeof part, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got < 0 && answer.empty()) return Error(Code::System, "read: " + go_text(errno), errno);
    if (got <= 0) break;
    answer.append(part, static_cast<size_t>(got));
  }
  if (answer.empty()) return error(Code::System, "EOF");
  return parse_answer(answer);
}

}  // namespace

Result<UniqueFd> connect_tcp(const UniqueFd& network, const Address& address, TimePoint deadline) {
  Result<net::Ipv4> host = net::parse_ipv4(address.host);
  if (!host.ok()) return error(Code::Invalid, "dial tcp: lookup {}: no such host", address.host);
  Result<UniqueFd> socket =
      net::dial_in(network, {host.value(), static_cast<std::uint16_t>(address.port)}, deadline);
  if (socket.ok()) return socket;
  if (socket.error().code() == Code::Timeout)
    return error(Code::Timeout, "dial tcp {}: i/o timeout", address.str());
  int number = socket.error().sys_errno();
  return Error(Code::System, fmt::format("dial tcp {}: connect: {}", address.str(), go_text(number)), number);
}

Result<HttpAnswer> parse_answer(std::string_view text) {
  size_t space = text.find(' ');
  HttpAnswer answer;
  if (!text.starts_with("HTTP/1.") || space == std::string_view::npos ||
      std::from_chars(text.data() + space + 1, text.data() + text.size(), answer.status).ec != std::errc())
    return error(Code::BadRequest, "malformed HTTP response \"{}\"", text.substr(0, text.find('\r')));
  size_t body = text.find("\r\n\r\n");
  if (body != std::string_view::npos) answer.body = text.substr(body + 4, kMaxBody);
  return answer;
}

Result<HttpAnswer> http_get(const UniqueFd& network, const HttpRequest& request, TimePoint deadline) {
  std::string path = request.path.starts_with("/") ? request.path : "/" + request.path;
  std::string doing = fmt::format("Get \"http://{}{}\"", request.address.str(), path);
  Result<UniqueFd> socket = connect_tcp(network, request.address, deadline);
  if (!socket.ok()) return std::move(socket).error().in(doing);
  Result<HttpAnswer> answer = exchange(socket.value(), request_text(request), deadline);
  if (!answer.ok()) return std::move(answer).error().in(doing);
  return answer;
}

}  // namespace skiff::kubelet
