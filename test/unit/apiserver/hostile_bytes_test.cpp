// Parsers of what clients send, given damaged input: they may refuse, they may not crash or grow without end.
// The sanitizer builds run this too; the fuzz targets start from the same calls.

#include <catch2/catch.hpp>

#include "api/gen/pod.hpp"
#include "apiserver/certificates.hpp"
#include "apiserver/http.hpp"
#include "api/protobuf.hpp"
#include "apiserver/remote.hpp"
#include "apiserver/spdy.hpp"
#include "apiserver/tokens.hpp"
#include "apiserver/websocket.hpp"
#include "base/random.hpp"
#include "unit/apiserver/spdy_client.hpp"
#include "unit/apiserver/websocket_client.hpp"

using namespace skiff;
using namespace skiff::apiserver;

namespace {

constexpr int kRounds = 3000;

/// `text` with a few bytes changed, cut or repeated.
std::string damaged(std::string text, Random& random) {
  for (std::uint64_t i = random.below(4) + 1; i > 0 && !text.empty(); --i) {
    size_t at = random.below(text.size());
    switch (random.below(4)) {
      case 0:
        text[at] = static_cast<char>(random.next());
        break;
      case 1:
        text.resize(at);
        break;
      case 2:
        text.insert(at, text.substr(0, random.below(16)));
        break;
      default:
        text[at] = static_cast<char>(text[at] ^ (1 << random.below(8)));
        break;
    }
  }
  return text;
}

/// Feeds `bytes` in pieces to `take` until it says stop.
template <class Take>
void in_pieces(const std::string& bytes, Random& random, Take take) {
  for (size_t at = 0; at < bytes.size();) {
    size_t size = random.below(40) + 1;
    if (!take(bytes.substr(at, size))) return;
    at += size;
  }
}

}  // namespace

TEST_CASE("damaged requests are served or refused") {
  SeededRandom random(1);
  HeadParser parser;
  const HttpLimits limits{.head_bytes = 1024, .body_bytes = 256};
  const std::string good =
      "POST /a?b=%41&c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive, x\r\n\r\n"
      "5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
  for (int i = 0; i < kRounds; ++i) {
    RequestReader reader(parser, limits);
    in_pieces(damaged(good, random), random, [&](const std::string& piece) {
      reader.append(piece);
      RequestReader::State state = RequestReader::State::Head;
      while ((state = reader.advance()) == RequestReader::State::Complete) {
        CHECK(reader.take_request().body.size() <= limits.body_bytes);
        reader.next();
      }
      return state != RequestReader::State::Refused;
    });
  }
}

TEST_CASE("damaged WebSocket frames are messages or the end") {
  SeededRandom random(2);
  std::string good = test::client_frame(0x01, "he") + test::client_frame(0x89, "ping");
  good += test::client_frame(0x80, "llo") + test::client_frame(0x82, std::string(200, 'x')) +
          test::client_frame(0x88, "\x03\xe8");
  for (int i = 0; i < kRounds; ++i) {
    WebSocketCodec codec(1024);
    in_pieces(damaged(good, random), random, [&](const std::string& piece) {
      std::vector<WebSocketMessage> messages;
      bool alive = codec.receive(piece, messages).ok();
      for (const WebSocketMessage& message : messages) CHECK(message.payload.size() <= 1024);
      return alive;
    });
    CHECK(codec.output().size() < 4096);
  }
}

TEST_CASE("damaged SPDY frames are streams or the end") {
  SeededRandom random(3);
  for (int i = 0; i < kRounds; ++i) {
    test::SpdyClient client;
    std::string good = client.open(1, {{"streamtype", "stdin"}, {"port", "80"}});
    good += client.data(1, "hello");
    good += client.open(3, {{"streamtype", "error"}}, 1);
    good += client.control(4, 0, test::big_endian(1) + test::big_endian(7) + test::big_endian(1000));
    good += client.control(9, 0, test::big_endian(1) + test::big_endian(1000));
    good += client.control(3, 0, test::big_endian(3) + test::big_endian(5)) + client.data(1, "", true);
    SpdySession session({.streams = 4, .frame_bytes = 4096, .header_bytes = 1024});
    in_pieces(damaged(good, random), random, [&](const std::string& piece) {
      std::vector<SpdyEvent> events;
      bool alive = session.receive(piece, events).ok();
      for (const SpdyEvent& event : events) {
        if (event.kind != SpdyEvent::Kind::Opened) continue;
        session.reply(event.stream);
        session.send(event.stream, "answer");
        session.finish(event.stream);
      }
      return alive;
    });
    CHECK(session.output().size() < 65536);
  }
}

TEST_CASE("damaged remote command messages are data or nothing") {
  SeededRandom random(4);
  const char* protocol = GENERATE("v5.channel.k8s.io", "v4.channel.k8s.io", "base64.channel.k8s.io", "");
  for (int i = 0; i < kRounds / 4; ++i) {
    auto remote = make_websocket_protocol(protocol, {.input = true, .output = true});
    std::string payload = damaged(std::string("\0data", 5) + "0aGVsbG8=", random);
    std::vector<RemoteEvent> events;
    remote->receive(test::client_frame(0x82, payload) + test::client_frame(0x82, "\xff" + payload), events)
        .ok();
    for (const RemoteEvent& event : events) CHECK(event.channel <= Channel::Resize);
    std::string resize = damaged(R"({"Width":80,"Height":24}{"Width":1)", random);
    parse_resize(resize);
  }
}

TEST_CASE("damaged protobuf bodies are objects or a refusal") {
  SeededRandom random(5);
  auto field = [](int number, const std::string& bytes) {
    return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(bytes.size()) + bytes;
  };
  std::string container =
      field(1, "c") + field(2, "image") + field(6, field(1, "http") + std::string("\x18\x50", 2));
  std::string pod =
      field(1, field(1, "p") + field(11, field(1, "k") + field(2, "v"))) + field(2, field(2, container));
  std::string good = std::string("k8s\0", 4) + field(1, field(1, "v1") + field(2, "Pod")) + field(2, pod);
  REQUIRE(api::json_from_protobuf(good, api::type_of<api::Pod>()).ok());
  for (int i = 0; i < kRounds; ++i) {
    Result<std::string> result = api::json_from_protobuf(damaged(good, random), api::type_of<api::Pod>());
    CHECK((result.ok() || result.error().code() == Code::BadRequest));
  }
}

TEST_CASE("damaged tokens are refused") {
  SeededRandom random(6);
  auto signer = TokenSigner::create(make_signing_key().value()).value();
  WallTime now{std::chrono::seconds(1'800'000'000)};
  TokenClaims claims{.token_namespace = "a",
                     .service_account = {"b", "c"},
                     .audiences = {std::string(kTokenIssuer)},
                     .issued = now,
                     .expires = now + 1h};
  std::string good = signer->sign(claims).value();
  for (int i = 0; i < kRounds / 4; ++i) {
    std::string token = damaged(good, random);
    Result<TokenClaims> result = signer->verify(token, now);
    // Only the unused bits of the last character may differ.
    if (result.ok()) CHECK(token.substr(0, token.size() - 1) == good.substr(0, good.size() - 1));
  }
}
