#include "apiserver/spdy.hpp"

#include <catch2/catch.hpp>

#include "unit/apiserver/spdy_client.hpp"

using namespace skiff;
using namespace skiff::apiserver;
using test::big_endian;
using test::SpdyClient;
using Kind = SpdyEvent::Kind;

namespace {
std::vector<test::SpdyFrame> frames(SpdySession& session) {
  std::vector<test::SpdyFrame> all;
  while (auto frame = test::take_spdy_frame(session.output())) all.push_back(*frame);
  CHECK(session.output().empty());
  return all;
}

std::vector<SpdyEvent> receive(SpdySession& session, std::string_view bytes) {
  std::vector<SpdyEvent> events;
  REQUIRE(session.receive(bytes, events).ok());
  return events;
}
}  // namespace

TEST_CASE("streams are opened, carry data both ways and end") {
  SpdySession session;
  SpdyClient client;
  std::string bytes = client.open(1, {{"streamType", "stdin"}, {"port", "80"}});
  bytes += client.data(1, "hello");
  bytes += client.open(3, {{"streamtype", "stdout"}}, 1);
  bytes += client.data(1, "", true);
  size_t step = GENERATE(1, 5, 1000);
  std::vector<SpdyEvent> events;
  for (size_t at = 0; at < bytes.size(); at += step) {
    Status status = session.receive(bytes.substr(at, step), events);
    INFO((status.ok() ? "" : status.error().message()));
    REQUIRE(status.ok());
  }
  REQUIRE(events.size() == 5);
  CHECK(events[0].kind == Kind::Opened);
  CHECK(events[0].headers == SpdyHeaders{{"port", "80"}, {"streamtype", "stdin"}});
  CHECK(events[1].data == "hello");
  CHECK(events[2].stream == 3);
  CHECK(events[3].kind == Kind::Finished);
  CHECK(events[4].kind == Kind::Finished);
  session.reply(3);
  session.send(3, "world");
  session.finish(3);
  std::vector<test::SpdyFrame> out = frames(session);
  REQUIRE(out.size() == 3);
  CHECK(out[0].type == 2);
  // The zlib header and the Adler-32 of the dictionary that SPDY/3 fixes.
  CHECK(out[0].body.substr(4, 6) == "\x78\xf9\xe3\xc6\xa7\xc2");
  CHECK(out[1].body == "world");
  CHECK(out[2].flags == 1);
  CHECK_FALSE(session.open(3));
  CHECK(session.open(1));
}

TEST_CASE("a peer that counts windows is held to them, one that does not is not") {
  SpdySession session;
  SpdyClient client;
  bool counts = GENERATE(true, false);
  receive(session, client.open(1, {{"streamtype", "stdout"}}));
  if (counts) receive(session, client.control(4, 0, big_endian(1) + big_endian(7) + big_endian(100'000)));
  std::string data(150'000, 'x');
  session.send(1, data);
  session.finish(1);
  size_t sent = 0;
  bool ended = false;
  for (const auto& frame : frames(session)) {
    sent += frame.body.size();
    ended = frame.flags == 1;
  }
  if (!counts) {
    CHECK(sent == 150'000);
    CHECK(ended);
    return;
  }
  CHECK(sent == 65536);  // the session's window
  CHECK(session.waiting() == 150'000 - 65536);
  receive(session, client.control(9, 0, big_endian(0) + big_endian(100'000)));
  for (const auto& frame : frames(session)) sent += frame.body.size();
  CHECK(sent == 100'000);  // the stream's
  receive(session, client.control(9, 0, big_endian(1) + big_endian(100'000)));
  for (const auto& frame : frames(session)) ended = frame.flags == 1;
  CHECK(ended);
  CHECK(session.waiting() == 0);
}

TEST_CASE("what was consumed is given back to the peer's window") {
  SpdySession session;
  SpdyClient client;
  receive(session, client.open(1, {{"streamtype", "stdin"}}));
  session.consumed(1, 1000);
  CHECK(frames(session).empty());
  session.consumed(1, 40'000);
  std::vector<test::SpdyFrame> out = frames(session);
  REQUIRE(out.size() == 2);
  CHECK(out[0].stream == 0);
  CHECK(out[1].stream == 1);
  CHECK(test::word(out[1].body, 4) == 41'000);
}

TEST_CASE("pings are answered, resets end a stream") {
  SpdySession session;
  SpdyClient client;
  receive(session, client.control(6, 0, big_endian(7)));
  std::vector<test::SpdyFrame> out = frames(session);
  REQUIRE(out.size() == 1);
  CHECK(out[0].type == 6);
  CHECK(out[0].stream == 7);
  receive(session, client.open(1, {{"streamtype", "data"}}));
  CHECK(receive(session, client.control(3, 0, big_endian(1) + big_endian(5))).at(0).kind == Kind::Reset);
  CHECK_FALSE(session.open(1));
  receive(session, client.data(1, "late"));
  CHECK(frames(session).empty());
}

TEST_CASE("streams beyond the limit are refused one by one") {
  SpdySession session({.streams = 2});
  SpdyClient client;
  for (unsigned id : {1U, 3U, 5U}) receive(session, client.open(id, {{"streamtype", "data"}}));
  std::vector<test::SpdyFrame> out = frames(session);
  REQUIRE(out.size() == 1);
  CHECK(out[0].type == 3);
  CHECK(out[0].stream == 5);
}

TEST_CASE("frames that break the protocol end the session") {
  SpdyClient client;
  std::string bomb = client.open(1, {{"a", std::string(1 << 20, 'x')}});
  struct Row {
    std::string name, bytes;
  };
  auto row = GENERATE_COPY(values<Row>({
      {"wrong version", big_endian(0x80020001U) + big_endian(0)},
      {"short SYN_STREAM", SpdyClient::control(1, 0, "abc")},
      {"corrupt headers",
       SpdyClient::control(1, 0, big_endian(1) + big_endian(0) + big_endian(0, 2) + "garbage")},
      {"header bomb", bomb},
      {"huge frame", big_endian(1) + big_endian(0xffffff)},
      {"short RST_STREAM", SpdyClient::control(3, 0, "abcd")},
      {"short PING", SpdyClient::control(6, 0, "")},
      {"lying SETTINGS", SpdyClient::control(4, 0, big_endian(1000))},
      {"short WINDOW_UPDATE", SpdyClient::control(9, 0, big_endian(0))},
      {"window overflow", SpdyClient::control(9, 0, big_endian(0) + big_endian(0x7fffffff))},
      {"even stream id", SpdyClient().open(2, {})},
      {"lying header count", SpdyClient::control(1, 0,
                                                 big_endian(1) + big_endian(0) + big_endian(0, 2) +
                                                     SpdyClient().deflate(big_endian(0xffffffff)))},
      {"lying header size",
       SpdyClient::control(1, 0,
                           big_endian(1) + big_endian(0) + big_endian(0, 2) +
                               SpdyClient().deflate(big_endian(1) + big_endian(0xfffffff0) + "x"))},
  }));
  DYNAMIC_SECTION(row.name) {
    SpdySession session;
    std::vector<SpdyEvent> events;
    REQUIRE_FALSE(session.receive(row.bytes, events).ok());
    CHECK(session.peer_gone());
    CHECK(frames(session).back().type == 7);
    CHECK(session.receive("more", events).ok());
  }
}
