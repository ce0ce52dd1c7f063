#include "apiserver/websocket.hpp"

#include <catch2/catch.hpp>

#include "unit/apiserver/websocket_client.hpp"

using namespace skiff;
using namespace skiff::apiserver;
using test::client_frame;

TEST_CASE("the handshake answer is RFC 6455's example") {
  CHECK(websocket_accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST_CASE("messages arrive whole however their bytes are cut") {
  size_t size = GENERATE(0, 5, 125, 126, 70'000);
  size_t step = GENERATE(1, 1000, 100'000);
  std::string payload(size, 'x');
  std::string bytes = client_frame(0x82, payload);
  WebSocketCodec codec(1 << 20);
  std::vector<WebSocketMessage> messages;
  for (size_t at = 0; at < bytes.size(); at += step)
    REQUIRE(codec.receive(bytes.substr(at, step), messages).ok());
  REQUIRE(messages.size() == 1);
  CHECK(messages[0].payload == payload);
  CHECK_FALSE(messages[0].text);
}

TEST_CASE("fragments are joined, with a ping in between") {
  WebSocketCodec codec(100);
  std::vector<WebSocketMessage> messages;
  std::string bytes = client_frame(0x01, "he") + client_frame(0x89, "?") + client_frame(0x00, "l") +
                      client_frame(0x80, "lo") + client_frame(0x81, "next");
  REQUIRE(codec.receive(bytes, messages).ok());
  REQUIRE(messages.size() == 2);
  CHECK(messages[0].payload == "hello");
  CHECK(messages[0].text);
  CHECK(messages[1].payload == "next");
  CHECK(codec.output() == std::string("\x8a\x01?"));
}

TEST_CASE("a close is answered once and ends the conversation") {
  WebSocketCodec codec(100);
  std::vector<WebSocketMessage> messages;
  REQUIRE(codec.receive(client_frame(0x88, "\x03\xe8"), messages).ok());
  CHECK(codec.peer_closed());
  CHECK(codec.output() == "\x88\x02\x03\xe8");
  codec.close(1000, "again");
  codec.send(WebSocketOpcode::Text, "late");
  REQUIRE(codec.receive(client_frame(0x81, "late"), messages).ok());
  CHECK(codec.output() == "\x88\x02\x03\xe8");
  CHECK(messages.empty());
}

TEST_CASE("frames that break the protocol end it with the right code") {
  struct Row {
    std::string name, bytes;
    int code;
  };
  std::string unmasked("\x81\x01x", 3);
  auto row = GENERATE_COPY(values<Row>({
      {"unmasked", unmasked, 1002},
      {"reserved bit", client_frame(0xc1, "x"), 1002},
      {"unknown opcode", client_frame(0x83, "x"), 1002},
      {"unknown control", client_frame(0x8b, "x"), 1002},
      {"fragmented control", client_frame(0x09, "x"), 1002},
      {"long control", client_frame(0x89, std::string(126, 'x')), 1002},
      {"continuation of nothing", client_frame(0x80, "x"), 1002},
      {"new message inside one", client_frame(0x01, "x") + client_frame(0x81, "y"), 1002},
      {"too big", client_frame(0x82, std::string(101, 'x')), 1009},
      {"too big in pieces",
       client_frame(0x02, std::string(60, 'x')) + client_frame(0x80, std::string(60, 'x')), 1009},
      {"huge length", std::string("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14), 1009},
  }));
  DYNAMIC_SECTION(row.name) {
    WebSocketCodec codec(100);
    std::vector<WebSocketMessage> messages;
    Status status = codec.receive(row.bytes, messages);
    REQUIRE_FALSE(status.ok());
    CHECK(codec.peer_closed());
    REQUIRE(codec.output().size() >= 4);
    CHECK(static_cast<unsigned char>(codec.output()[0]) == 0x88);
    int code =
        static_cast<unsigned char>(codec.output()[2]) * 256 + static_cast<unsigned char>(codec.output()[3]);
    CHECK(code == row.code);
  }
}
