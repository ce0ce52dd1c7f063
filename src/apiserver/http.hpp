#pragma once
// HTTP/1.1 as bytes: requests out of what a connection received, heads and chunks for what it sends.
// http.cpp is the room's only file that knows httplib, which parses request heads; framing is ours, because a
// request is read without blocking a thread for it.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "apiserver/message.hpp"

namespace skiff::apiserver {

struct HttpLimits {
  size_t head_bytes = 64U << 10;  // request line and headers; one line at most 8 KiB (httplib's limit)
  size_t body_bytes = 3U << 20;   // as kube-apiserver
};

/// Parses request heads with httplib. Shared by all readers; any thread.
class HeadParser {
 public:
  HeadParser();
  ~HeadParser();
  struct Head {
    Request request;  // all but body and peer
    std::string version;
  };
  /// `head` ends with its empty line. nullopt: not HTTP.
  std::optional<Head> parse(const std::string& head) const;

 private:
  class Server;
  std::unique_ptr<Server> server_;
};

/// Decodes a chunked body (RFC 9112, 7.1) as it arrives. Chunk extensions and trailers are skipped.
class ChunkedDecoder {
 public:
  enum class State { More, Done, Malformed, TooLarge };
  explicit ChunkedDecoder(size_t limit) : limit_(limit) {}

  /// Takes what it understands off the front of `bytes`.
  State feed(std::string_view& bytes);
  std::string take_body() { return std::move(body_); }

 private:
  enum class Expect { Size, Data, DataEnd, Trailer, Nothing };
  State take_line(std::string_view& bytes);
  State take_size(std::string_view line);

  size_t limit_;
  Expect expect_ = Expect::Size;
  size_t remaining_ = 0;
  size_t trailers_ = 0;
  std::string line_;
  std::string body_;
};

/// Cuts the requests out of one connection's bytes. One thread at a time.
class RequestReader {
 public:
  enum class State { Head, Body, Complete, Refused };

  RequestReader(const HeadParser& parser, HttpLimits limits) : parser_(parser), limits_(limits) {}

  void append(std::string_view bytes) { buffer_.append(bytes); }
  /// Reads on in what was appended. Complete and Refused stay until next().
  State advance();

  /// Complete: the request. Refused: the answer to give before closing.
  Request take_request() { return std::move(request_); }
  const Reply& refusal() const { return refusal_; }
  /// Whether the connection may serve another request after this one.
  bool keep_alive() const { return keep_alive_; }
  /// True once: the client waits for "100 Continue" before it sends the body.
  bool take_expect_continue() { return std::exchange(expect_continue_, false); }
  /// No byte of a request has arrived yet.
  bool idle() const { return state_ == State::Head && buffer_.empty(); }

  /// Forgets the finished request; bytes of the following one are kept.
  void next();
  /// What was sent beyond the current request.
  std::string take_rest() { return std::exchange(buffer_, {}); }

 private:
  State refuse(int status, std::string_view reason);
  State refuse_body_size();
  State read_head();
  State read_body();
  State frame_body(bool http_1_1);

  const HeadParser& parser_;
  HttpLimits limits_;
  State state_ = State::Head;
  std::string buffer_;
  size_t scanned_ = 0;  // of buffer_, for the end of the head
  Request request_;
  Reply refusal_;
  size_t content_length_ = 0;
  std::optional<ChunkedDecoder> chunked_;
  bool keep_alive_ = true;
  bool expect_continue_ = false;
};

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
constexpr std::string_view kLastChunk = "0\r\n\r\n";

std::string_view status_text(int status);
/// The head of an answer with a body of `reply.body`'s size.
std::string reply_head(const Reply& reply, bool keep_alive);
/// The head of an answer in chunks.
std::string stream_head(const StreamReply& reply);
std::string upgrade_head(const UpgradeReply& reply);
/// What stands before and after the `size` (> 0) bytes of one chunk of such an answer.
void open_chunk(std::string& out, size_t size);
void close_chunk(std::string& out);

/// The parameters behind the '?' of a request target, in their order.
Query parse_query(std::string_view target);

/// True when the comma-separated `list` contains `token` (case does not matter, parameters are cut off).
bool has_token(std::string_view list, std::string_view token);

/// Replaces a large body by its gzip form when the request accepts it, as kube-apiserver does. Not for
/// clients on this machine: over loopback compressing costs more than it saves.
void compress(const Request& request, Reply& reply);

}  // namespace skiff::apiserver
