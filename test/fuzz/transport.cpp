// Requests, frames, tokens and certificates.

#include "apiserver/certificate_requests.hpp"
#include "apiserver/http.hpp"
#include "apiserver/negotiate.hpp"
#include "apiserver/request_info.hpp"
#include "apiserver/spdy.hpp"
#include "apiserver/websocket.hpp"
#include "targets.hpp"

namespace skiff::fuzz {
namespace {

using namespace apiserver;

constexpr size_t kPiece = 7;  // frames must not care where reads end

void http_request(std::string_view bytes) {
  static const HeadParser parser;
  RequestReader reader(parser, HttpLimits{});
  for (size_t at = 0; at < bytes.size(); at += kPiece) {
    reader.append(bytes.substr(at, kPiece));
    RequestReader::State state = reader.advance();
    if (state == RequestReader::State::Refused) return;
    if (state != RequestReader::State::Complete) continue;
    Request request = reader.take_request();
    (void)parse_request_info(request);
    (void)parse_accept(request.header("Accept"));
    if (!reader.keep_alive()) return;
    reader.next();
  }
}

void spdy_frames(std::string_view bytes) {
  SpdySession session({.streams = 8, .frame_bytes = 1U << 16, .header_bytes = 4U << 10});
  std::vector<SpdyEvent> events;
  for (size_t at = 0; at < bytes.size(); at += kPiece) {
    if (!session.receive(bytes.substr(at, kPiece), events).ok()) return;
    for (const SpdyEvent& event : events) {
      if (event.kind == SpdyEvent::Kind::Opened) session.reply(event.stream);
      if (event.kind == SpdyEvent::Kind::Data) session.consumed(event.stream, event.data.size());
    }
    events.clear();
    require(session.output().size() < (1U << 20), "a peer cannot make a session answer without end");
    session.output().clear();
  }
}

void websocket_frames(std::string_view bytes) {
  WebSocketCodec codec(1U << 16);
  std::vector<WebSocketMessage> messages;
  for (size_t at = 0; at < bytes.size(); at += kPiece) {
    if (!codec.receive(bytes.substr(at, kPiece), messages).ok()) return;
    for (const WebSocketMessage& message : messages) require(message.payload.size() <= (1U << 16), "messages are limited");
    messages.clear();
    codec.output().clear();
  }
}

void certificate_request(std::string_view bytes) {
  static const CertificatePair none;
  (void)ClusterAuthority(none).read(std::string(bytes)).ok();
}

void certificate(std::string_view bytes) { (void)expiry_of(std::string(bytes)).ok(); }

constexpr NamedTarget kTargets[] = {{"http_request", http_request},
                                    {"spdy_frames", spdy_frames},
                                    {"websocket_frames", websocket_frames},
                                    {"certificate_request", certificate_request},
                                    {"certificate", certificate}};

}  // namespace

std::span<const NamedTarget> transport_targets() { return kTargets; }

}  // namespace skiff::fuzz
