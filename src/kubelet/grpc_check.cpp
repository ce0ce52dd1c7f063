#include "kubelet/grpc_check.hpp"

#include <nghttp2/nghttp2.h>

#include <array>
#include <charconv>
#include <cstring>

namespace skiff::kubelet {
namespace {

constexpr size_t kPrefix = 5;  // gRPC's: compressed?, length
constexpr size_t kMaxMessage = 4096;

/// HealthCheckRequest{service: 1} with gRPC's prefix.
std::string request_message(const std::string& service) {
  std::string message;
  if (!service.empty()) {
    message += '\x0a';
    for (size_t size = service.size(); ; size >>= 7) {
      message += static_cast<char>(size > 0x7f ? (size & 0x7f) | 0x80 : size);
      if (size <= 0x7f) break;
    }
    message += service;
  }
  std::string framed(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) framed += static_cast<char>(message.size() >> shift & 0xff);
  return framed + message;
}

struct Exchange {
  std::string request;
  size_t sent = 0;
  std::string message;
  HealthAnswer answer;
  bool closed = false;
};

ssize_t give_body(nghttp2_session*, int32_t, uint8_t* buffer, size_t size, uint32_t* flags, nghttp2_data_source* source,
                  void*) {
  auto& exchange = *static_cast<Exchange*>(source->ptr);
  size_t part = std::min(size, exchange.request.size() - exchange.sent);
  std::memcpy(buffer, exchange.request.data() + exchange.sent, part);
  exchange.sent += part;
  if (exchange.sent == exchange.request.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return static_cast<ssize_t>(part);
}

int take_header(nghttp2_session*, const nghttp2_frame*, const uint8_t* name, size_t name_size, const uint8_t* value,
                size_t value_size, uint8_t, void* user) {
  auto& answer = static_cast<Exchange*>(user)->answer;
  std::string_view header(reinterpret_cast<const char*>(name), name_size);
  std::string_view text(reinterpret_cast<const char*>(value), value_size);
  if (header == "grpc-status") std::from_chars(text.data(), text.data() + text.size(), answer.grpc_status);
  if (header == "grpc-message") answer.grpc_message = text;
  return 0;
}

int take_data(nghttp2_session*, uint8_t, int32_t, const uint8_t* data, size_t size, void* user) {
  std::string& message = static_cast<Exchange*>(user)->message;
  message.append(reinterpret_cast<const char*>(data), std::min(size, kMaxMessage - std::min(kMaxMessage, message.size())));
  return 0;
}

int take_close(nghttp2_session*, int32_t, uint32_t, void* user) {
  static_cast<Exchange*>(user)->closed = true;
  return 0;
}

struct FreeSession {
  void operator()(nghttp2_session* session) const { nghttp2_session_del(session); }
};
using Session = std::unique_ptr<nghttp2_session, FreeSession>;

Session new_session(Exchange& exchange) {
  nghttp2_session_callbacks* callbacks = nullptr;
  if (nghttp2_session_callbacks_new(&callbacks) != 0) return nullptr;
  nghttp2_session_callbacks_set_on_header_callback(callbacks, take_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, take_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, take_close);
  nghttp2_session* session = nullptr;
  nghttp2_session_client_new(&session, callbacks, &exchange);
  nghttp2_session_callbacks_del(callbacks);
  return Session(session);
}

Status submit(nghttp2_session* session, const std::string& authority, Exchange& exchange) {
  auto bytes = [](std::string_view text) { return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data())); };
  auto header = [&](std::string_view name, std::string_view value) {
    return nghttp2_nv{bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
  };
  std::array headers = {header(":method", "POST"),
                        header(":scheme", "http"),
                        header(":path", "/grpc.health.v1.Health/Check"),
                        header(":authority", authority),
                        header("content-type", "application/grpc"),
                        header("te", "trailers"),
                        header("user-agent", "kube-probe/1.36")};
  nghttp2_data_provider body{{.ptr = &exchange}, give_body};
  if (nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, nullptr, 0) != 0 ||
      nghttp2_submit_request(session, nullptr, headers.data(), headers.size(), &body, nullptr) < 0)
    return error(Code::Internal, "HTTP/2 refused the request");
  return ok();
}

Status send_pending(nghttp2_session* session, ProbeStream& stream, TimePoint deadline) {
  for (;;) {
    const uint8_t* data = nullptr;
    ssize_t size = nghttp2_session_mem_send(session, &data);
    if (size < 0) return error(Code::System, "{}", nghttp2_strerror(static_cast<int>(size)));
    if (size == 0) return ok();
    TRY(stream.send({reinterpret_cast<const char*>(data), static_cast<size_t>(size)}, deadline));
  }
}

}  // namespace

std::string health_in(std::string_view message) {
  constexpr std::array<const char*, 4> names = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
  if (message.size() < kPrefix) return "";
  message.remove_prefix(kPrefix);
  if (message.empty()) return names[0];  // the default is not written
  if (message.size() < 2 || message[0] != '\x08') return "";
  auto number = static_cast<unsigned char>(message[1]);
  return number < names.size() ? names[number] : std::to_string(number);
}

Result<HealthAnswer> check_health(ProbeStream& stream, const std::string& authority, const std::string& service,
                                  TimePoint deadline) {
  Exchange exchange;
  exchange.request = request_message(service);
  Session session = new_session(exchange);
  if (!session) return error(Code::Internal, "no HTTP/2 session");
  TRY(submit(session.get(), authority, exchange));
  while (!exchange.closed) {
    TRY(send_pending(session.get(), stream, deadline));
    TRY_ASSIGN(std::string part, stream.receive(deadline));
    if (part.empty()) return error(Code::System, "connection closed before the answer");
    ssize_t used = nghttp2_session_mem_recv(session.get(), reinterpret_cast<const uint8_t*>(part.data()), part.size());
    if (used < 0) return error(Code::System, "{}", nghttp2_strerror(static_cast<int>(used)));
  }
  if (!exchange.message.empty()) exchange.answer.health = health_in(exchange.message);
  return exchange.answer;
}

}  // namespace skiff::kubelet
