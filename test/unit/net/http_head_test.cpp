#include "net/http_head.hpp"

#include <catch2/catch.hpp>

#include "net/http_body.hpp"

namespace skiff::net {
namespace {

std::string request(const std::string& lines) { return "GET / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n"; }

/// 0: taken; else the status it is refused with; -1: more is needed.
int outcome(const std::string& bytes) {
  HttpParsed<HttpRequestHead> parsed = parse_request_head(bytes);
  if (parsed.incomplete()) return -1;
  return parsed.refusal ? parsed.refusal->status : 0;
}

TEST_CASE("requests that two programs could read in two ways are refused") {
  struct Row {
    const char* name;
    std::string bytes;
    int want;
  };
  auto row = GENERATE(values<Row>({
      {"plain", request(""), 0},
      {"length", request("Content-Length: 5\r\n"), 0},
      {"chunked", request("Transfer-Encoding: chunked\r\n"), 0},
      {"length and chunked", request("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400},
      {"two lengths", request("Content-Length: 5\r\nContent-Length: 6\r\n"), 400},
      {"two equal lengths", request("Content-Length: 5\r\nContent-Length: 5\r\n"), 400},
      {"a list of lengths", request("Content-Length: 5, 5\r\n"), 400},
      {"a signed length", request("Content-Length: +5\r\n"), 400},
      {"a negative length", request("Content-Length: -1\r\n"), 400},
      {"a hexadecimal length", request("Content-Length: 0x5\r\n"), 400},
      {"a length beyond numbers", request("Content-Length: 99999999999999999999999\r\n"), 400},
      {"an empty length", request("Content-Length:\r\n"), 400},
      {"two encodings", request("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
      {"an unknown encoding", request("Transfer-Encoding: xchunked\r\n"), 501},
      {"a list of encodings", request("Transfer-Encoding: gzip, chunked\r\n"), 501},
      {"an obscured encoding",
       request("Transfer-Encoding: \x0b"
               "chunked\r\n"),
       400},
      {"encoding in 1.0", "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"a space before the colon", request("Content-Length : 5\r\n"), 400},
      {"a folded line", request("X: a\r\n b\r\n"), 400},
      {"a line without a colon", request("nothing\r\n"), 400},
      {"a name with other characters", request("X(y): a\r\n"), 400},
      {"a bare CR in a value", request("X: a\rb\r\n"), 400},
      {"a NUL in a value", request(std::string("X: a\0b\r\n", 8)), 400},
      {"a bare LF", "GET / HTTP/1.1\nHost: a\n\n", 400},
      {"one bare LF", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400},
      {"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"no Host in 1.0", "GET / HTTP/1.0\r\n\r\n", 0},
      {"two Hosts", request("Host: b\r\n"), 400},
      {"a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
      {"a Host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
      {"a whole URL", "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", 0},
      {"a URL of another kind", "GET ftp://b/x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405},
      {"another version", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
      {"no version", "GET /\r\n\r\n", 400},
      {"spaces in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"not HTTP", "\x16\x03\x01\r\n\r\n", 400},
      {"half a head", "GET / HTTP/1.1\r\nHost: a\r\n", -1},
      {"an empty line first", "\r\n" + request(""), 0},
      {"too many headers", request([] {
         std::string all;
         for (int i = 0; i < 200; ++i) all += "X: y\r\n";
         return all;
       }()),
       431},
      {"too long", request("X: " + std::string(40000, 'x') + "\r\n"), 431},
      {"too long without an end", "GET /" + std::string(40000, 'x'), 431},
  }));
  DYNAMIC_SECTION(row.name) { CHECK(outcome(row.bytes) == row.want); }
}

TEST_CASE("what a request says") {
  auto parsed = parse_request_head(
      "POST http://WWW.Example.com:8080/a?b=c HTTP/1.1\r\nHost: other\r\nConnection: keep-alive, Upgrade\r\n"
      "Upgrade: websocket\r\nExpect: 100-Continue\r\nContent-Length: 12\r\n\r\nbody");
  REQUIRE(parsed.head);
  CHECK(parsed.head->host == "www.example.com");
  CHECK(parsed.head->authority == "WWW.Example.com:8080");
  CHECK(parsed.head->target == "/a?b=c");
  CHECK(parsed.head->upgrade == "websocket");
  CHECK(parsed.head->expects_continue);
  CHECK(parsed.head->keep_alive);
  CHECK(parsed.head->body.length == 12);
  CHECK_FALSE(parse_request_head(request("Connection: close\r\n")).head->keep_alive);
  CHECK_FALSE(parse_request_head("GET / HTTP/1.0\r\n\r\n").head->keep_alive);
  CHECK(parse_request_head("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").head->keep_alive);
}

TEST_CASE("how an answer ends") {
  using Kind = HttpFraming::Kind;
  auto kind = [](const std::string& bytes, bool to_head = false) {
    auto parsed = parse_response_head(bytes, to_head);
    REQUIRE(parsed.head);
    return parsed.head->body.kind;
  };
  CHECK(kind("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n") == Kind::Length);
  CHECK(kind("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") == Kind::None);
  CHECK(kind("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") == Kind::Chunked);
  CHECK(kind("HTTP/1.1 200\r\n\r\n") == Kind::UntilClose);
  CHECK(kind("HTTP/1.1 204 No Content\r\n\r\n") == Kind::None);
  CHECK(kind("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n") == Kind::None);
  CHECK(kind("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true) == Kind::None);
  for (const char* bad :
       {"HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "ICY 200 OK\r\n\r\n", "HTTP/1.1 20\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n"})
    CHECK(parse_response_head(bad, false).refusal->status == 502);
}

TEST_CASE("paths as routes see them") {
  auto path = [](const char* target) { return normal_path(target).value_or("refused"); };
  CHECK(path("/a/b?c=/d") == "/a/b");
  CHECK(path("/") == "/");
  CHECK(path("/a/") == "/a/");
  CHECK(path("//a///b") == "/a/b");
  CHECK(path("/a/./b/../c") == "/a/c");
  CHECK(path("/a/..") == "/");
  CHECK(path("/public/%2e%2e/admin") == "/admin");
  CHECK(path("/a%20b%2Fc") == "/a b/c");
  CHECK(path("/..") == "refused");
  CHECK(path("/a/../../b") == "refused");
  CHECK(path("/%zz") == "refused");
  CHECK(path("/%4") == "refused");
  CHECK(path("/%00") == "refused");
}

/// The data of a chunked body given in pieces of every size; "broken" or "more".
std::string dechunked(const std::string& bytes, size_t piece) {
  HttpBodyReader reader({HttpFraming::Kind::Chunked, 0});
  std::string in, out;
  for (size_t i = 0; i < bytes.size() && !reader.done() && !reader.broken(); i += piece) {
    in += bytes.substr(i, piece);
    reader.take(in, out);
  }
  if (reader.broken()) return "broken";
  return reader.done() ? out + "|" + in : "more";
}

TEST_CASE("chunked bodies, in pieces of any size") {
  size_t piece = GENERATE(1U, 2U, 3U, 7U, 1000U);
  CHECK(dechunked("5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n", piece).starts_with("hello world|"));
  CHECK(dechunked("A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", piece).starts_with("0123456789|"));
  CHECK(dechunked("0\r\n\r\n", piece) == "|");
  CHECK(dechunked("5\r\nhel", piece) == "more");
  for (const char* bad :
       {"x\r\n", "-1\r\n", "+5\r\nhello\r\n", "0x5\r\nhello\r\n", "5\nhello\r\n", "5\r\nhelloX\r\n0\r\n\r\n",
        "5 \nhello", "\r\n", "fffffffffffffffff\r\n", "5;\rx\r\nhello\r\n"})
    CHECK(dechunked(bad, piece) == "broken");
}

}  // namespace
}  // namespace skiff::net
