#include "apiserver/http.hpp"

#include <catch2/catch.hpp>

using namespace skiff::apiserver;
using State = RequestReader::State;

namespace {

const HttpLimits kLimits{.head_bytes = 4096, .body_bytes = 64};

State read(RequestReader& reader, std::string_view bytes) {
  reader.append(bytes);
  return reader.advance();
}

}  // namespace

TEST_CASE("a request is the same however its bytes are cut") {
  HeadParser parser;
  std::string text =
      "POST /api/v1/pods%20x?watch=1&labelSelector=a%3Db HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
      "X-One: 1\r\n\r\nhelloGET";
  size_t step = GENERATE(1, 2, 7, 1000);
  RequestReader reader(parser, kLimits);
  State state = State::Head;
  for (size_t at = 0; at < text.size(); at += step) state = read(reader, text.substr(at, step));
  REQUIRE(state == State::Complete);
  Request request = reader.take_request();
  CHECK(request.method == "POST");
  CHECK(request.path == "/api/v1/pods x");
  CHECK(request.parameter("watch") == "1");
  CHECK(request.parameter("labelSelector") == "a=b");
  CHECK(request.header("x-one") == "1");
  CHECK(request.body == "hello");
  CHECK(reader.keep_alive());
  reader.next();
  CHECK(read(reader, " /two HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n") == State::Complete);
  CHECK(reader.take_request().path == "/two");
  CHECK_FALSE(reader.keep_alive());
}

TEST_CASE("query parameters keep their order, repetitions and escapes") {
  Query query = parse_query("/exec?command=echo&command=a&command=a&x=%2B+%zz%4&flag&=v&&a=b=c");
  std::vector<std::string> command;
  for (auto [entry, end] = query.equal_range("command"); entry != end; ++entry)
    command.push_back(entry->second);
  CHECK(command == std::vector<std::string>{"echo", "a", "a"});
  CHECK(query.find("x")->second == "+ %zz%4");
  CHECK(query.find("flag")->second.empty());
  CHECK(query.find("a")->second == "b=c");
  CHECK(parse_query("/exec").empty());
}

TEST_CASE("chunked bodies are joined") {
  HeadParser parser;
  std::string text =
      "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\nrest";
  size_t step = GENERATE(1, 3, 1000);
  RequestReader reader(parser, kLimits);
  State state = State::Head;
  for (size_t at = 0; at < text.size(); at += step) state = read(reader, text.substr(at, step));
  REQUIRE(state == State::Complete);
  CHECK(reader.take_request().body == "abcde");
  CHECK(reader.take_rest() == "rest");
}

TEST_CASE("requests that cannot be served are refused with the right status") {
  struct Row {
    std::string name, text;
    int status;
  };
  const std::string host = "Host: h\r\n";
  const std::string head = "POST / HTTP/1.1\r\n" + host;
  auto row = GENERATE_COPY(values<Row>({
      {"not http", "\x16\x03\x01 hello\r\n\r\n", 400},
      {"no method", " / HTTP/1.1\r\n\r\n", 400},
      {"unknown method", "BREW / HTTP/1.1\r\n" + host + "\r\n", 400},
      {"version", "GET / HTTP/2.0\r\n" + host + "\r\n", 400},
      {"no host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"two hosts", "GET / HTTP/1.1\r\n" + host + host + "\r\n", 400},
      {"long head", "GET / HTTP/1.1\r\n" + host + "A: " + std::string(5000, 'a') + "\r\n\r\n", 431},
      {"endless head", "GET / HTTP/1.1\r\nA: " + std::string(5000, 'a'), 431},
      {"bad length", head + "Content-Length: 1x\r\n\r\n", 400},
      {"negative length", head + "Content-Length: -1\r\n\r\n", 400},
      {"two lengths", head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
      {"length and chunked", head + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"unknown encoding", head + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
      {"large body", head + "Content-Length: 65\r\n\r\n", 413},
      {"huge body", head + "Content-Length: 99999999999999999999999\r\n\r\n", 413},
      {"large chunk", head + "Transfer-Encoding: chunked\r\n\r\n41\r\n", 413},
      {"huge chunk", head + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n", 413},
      {"many chunks", head + "Transfer-Encoding: chunked\r\n\r\n40\r\n" + std::string(64, 'a') + "\r\n1\r\n",
       413},
      {"bad chunk", head + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
      {"chunk without end", head + "Transfer-Encoding: chunked\r\n\r\n1\r\nab", 400},
  }));
  DYNAMIC_SECTION(row.name) {
    HeadParser parser;
    RequestReader reader(parser, kLimits);
    read(reader, row.text);
    REQUIRE(read(reader, "\r\n\r\n") == State::Refused);
    CHECK(reader.refusal().status == row.status);
    CHECK_FALSE(reader.keep_alive());
  }
}

TEST_CASE("a body over the limit is answered as kube-apiserver does") {
  HeadParser parser;
  RequestReader reader(parser, HttpLimits{});
  REQUIRE(read(reader, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3145729\r\n\r\n") == State::Refused);
  CHECK(
      *reader.refusal().body ==
      R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",)"
      R"("message":"Request entity too large: limit is 3145728","reason":"RequestEntityTooLarge","code":413})"
      "\n");
}

TEST_CASE("Expect: 100-continue is told once") {
  HeadParser parser;
  RequestReader reader(parser, kLimits);
  CHECK(read(reader, "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n") ==
        State::Body);
  CHECK(reader.take_expect_continue());
  CHECK_FALSE(reader.take_expect_continue());
  CHECK(read(reader, "ok") == State::Complete);
}

TEST_CASE("a header value cannot forge a header") {
  Reply reply;
  reply.headers.emplace("Location", "/x\r\nSet-Cookie: a=b");
  std::string head = reply_head(reply, true);
  CHECK(head.find("Location: /x  Set-Cookie: a=b\r\n") != std::string::npos);
}

TEST_CASE("large answers are compressed for clients elsewhere that accept it") {
  struct Row {
    const char *name, *accept, *address;
    size_t size;
    bool packed;
  };
  auto row = GENERATE(values<Row>({
      {"remote", "deflate, gzip;q=1.0", "10.1.2.3", 200'000, true},
      {"small", "gzip", "10.1.2.3", 1000, false},
      {"not accepted", "identity", "10.1.2.3", 200'000, false},
      {"loopback", "gzip", "127.0.0.1", 200'000, false},
      {"loopback six", "gzip", "::1", 200'000, false},
  }));
  DYNAMIC_SECTION(row.name) {
    Request request;
    request.headers.emplace("Accept-Encoding", row.accept);
    request.remote_address = row.address;
    Reply reply;
    reply.body = std::make_shared<std::string>(row.size, 'a');
    compress(request, reply);
    CHECK(reply.headers.contains("Content-Encoding") == row.packed);
    CHECK((reply.body->size() < row.size) == row.packed);
    if (row.packed) CHECK(reply.body->substr(0, 2) == "\x1f\x8b");
  }
}
