#include "apiserver/http.hpp"

#include <fmt/format.h>
#include <httplib.h>
#include <zlib.h>

#include <array>
#include <charconv>

namespace skiff::apiserver {

namespace {

constexpr size_t kCompressFrom = 128U << 10;
constexpr size_t kMaxChunkLine = 4096;
constexpr size_t kMaxTrailers = 16384;

// Hands a head to httplib and swallows the answer httplib would write.
class HeadStream final : public httplib::Stream {
 public:
  explicit HeadStream(const std::string& head) : head_(head) {}
  bool is_readable() const override { return position_ < head_.size(); }
  bool is_writable() const override { return true; }
  ssize_t read(char* out, size_t size) override {
    size_t count = std::min(size, head_.size() - position_);
    head_.copy(out, count, position_);
    position_ += count;
    return static_cast<ssize_t>(count);
  }
  ssize_t write(const char*, size_t size) override { return static_cast<ssize_t>(size); }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return 0; }

 private:
  const std::string& head_;
  size_t position_ = 0;
};

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::string date_header() {
  time_t now = ::time(nullptr);
  tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 64> text{};
  size_t size = ::strftime(text.data(), text.size(), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
  return std::string(text.data(), size);
}

std::string head_of(int status, const Headers& headers) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\n", status, status_text(status));
  for (const auto& [name, value] : headers) {
    head.append(name).append(": ");
    // A value with a line break could forge headers.
    for (char c : value) head.push_back(c == '\r' || c == '\n' ? ' ' : c);
    head.append("\r\n");
  }
  return head.append(date_header());
}

bool is_loopback(std::string_view address) {
  return address.empty() || address.starts_with("127.") || address == "::1" ||
         address.starts_with("::ffff:127.");
}

std::optional<std::string> gzip(const std::string& data) {
  z_stream stream{};
  // Level 1, as kube-apiserver; 31 = a 32 KiB window with a gzip header.
  if (::deflateInit2(&stream, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) != Z_OK) return std::nullopt;
  std::string out(::deflateBound(&stream, data.size()), '\0');
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  bool done = ::deflate(&stream, Z_FINISH) == Z_STREAM_END;
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  if (!done) return std::nullopt;
  return out;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// "a%2Bb+c" is "a+b c"; what is not an escape stays.
std::string decode_component(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    bool escape =
        text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0;
    if (escape) {
      out.push_back(static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])));
      i += 2;
    } else {
      out.push_back(text[i] == '+' ? ' ' : text[i]);
    }
  }
  return out;
}

}  // namespace

Query parse_query(std::string_view target) {
  Query query;
  size_t mark = target.find('?');
  if (mark == target.npos) return query;
  target.remove_prefix(mark + 1);
  while (!target.empty()) {
    size_t end = target.find('&');
    std::string_view pair = target.substr(0, end);
    target.remove_prefix(end == target.npos ? target.size() : end + 1);
    size_t equals = pair.find('=');
    std::string_view value = equals == pair.npos ? std::string_view{} : pair.substr(equals + 1);
    if (!pair.empty()) query.emplace(decode_component(pair.substr(0, equals)), decode_component(value));
  }
  return query;
}

class HeadParser::Server final : public httplib::Server {
 public:
  Server() {
    set_pre_routing_handler([](const auto&, auto&) { return HandlerResponse::Handled; });
  }
  bool parse(const std::string& head, const std::function<void(httplib::Request&)>& take) {
    HeadStream stream(head);
    bool closed = false;
    return process_request(stream, false, closed, take);
  }
};

HeadParser::HeadParser() : server_(std::make_unique<Server>()) {}
HeadParser::~HeadParser() = default;

std::optional<HeadParser::Head> HeadParser::parse(const std::string& head) const {
  std::optional<Head> parsed;
  server_->parse(head, [&parsed](httplib::Request& in) {
    Head& out = parsed.emplace();
    out.version = in.version;
    out.request.method = in.method;
    out.request.path = in.path;
    out.request.target = in.target;
    out.request.query = parse_query(in.target);  // httplib's own drops repeated pairs ("echo a a")
    for (const auto& [name, value] : in.headers) {
      // httplib adds these two to what the client sent.
      if (name != "REMOTE_ADDR" && name != "REMOTE_PORT" && name != "LOCAL_ADDR" && name != "LOCAL_PORT")
        out.request.headers.emplace(name, value);
    }
  });
  return parsed;
}

ChunkedDecoder::State ChunkedDecoder::feed(std::string_view& bytes) {
  while (expect_ != Expect::Nothing) {
    if (bytes.empty()) return State::More;
    if (expect_ == Expect::Data) {
      size_t count = std::min(remaining_, bytes.size());
      body_.append(bytes.substr(0, count));
      bytes.remove_prefix(count);
      remaining_ -= count;
      if (remaining_ == 0) expect_ = Expect::DataEnd;
    } else if (State state = take_line(bytes); state != State::More || !line_.empty()) {
      return state;  // an error, or half a line
    }
  }
  return State::Done;
}

// More with an empty line_: a line was dealt with. More otherwise: the line is not complete.
ChunkedDecoder::State ChunkedDecoder::take_line(std::string_view& bytes) {
  size_t end = bytes.find('\n');
  size_t count = end == bytes.npos ? bytes.size() : end + 1;
  line_.append(bytes.substr(0, count));
  bytes.remove_prefix(count);
  if (line_.size() > kMaxChunkLine) return State::Malformed;
  if (end == bytes.npos) return State::More;
  std::string line = std::exchange(line_, {});
  if (!line.ends_with("\r\n")) return State::Malformed;
  line.resize(line.size() - 2);
  if (expect_ == Expect::Size) return take_size(line);
  if (expect_ == Expect::DataEnd) {
    expect_ = Expect::Size;
    return line.empty() ? State::More : State::Malformed;
  }
  trailers_ += line.size();
  if (trailers_ > kMaxTrailers) return State::Malformed;
  if (line.empty()) expect_ = Expect::Nothing;
  return State::More;
}

ChunkedDecoder::State ChunkedDecoder::take_size(std::string_view line) {
  std::string_view digits = trim(line.substr(0, line.find(';')));
  size_t size = 0;
  auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), size, 16);
  if (failure == std::errc::result_out_of_range) return State::TooLarge;
  if (failure != std::errc{} || end != digits.data() + digits.size()) return State::Malformed;
  if (size > limit_ - body_.size()) return State::TooLarge;
  remaining_ = size;
  expect_ = size == 0 ? Expect::Trailer : Expect::Data;
  return State::More;
}

RequestReader::State RequestReader::advance() {
  if (state_ == State::Head) state_ = read_head();
  if (state_ == State::Body) state_ = read_body();
  return state_;
}

void RequestReader::next() {
  state_ = State::Head;
  scanned_ = 0;
  content_length_ = 0;
  chunked_.reset();
  request_ = {};
  expect_continue_ = false;
}

RequestReader::State RequestReader::refuse(int status, std::string_view reason) {
  keep_alive_ = false;
  std::string text = fmt::format("{} {}", status, status_text(status));
  if (!reason.empty()) text.append(": ").append(reason);
  refusal_ = Reply{status, "text/plain; charset=utf-8", {}, std::make_shared<std::string>(std::move(text))};
  return State::Refused;
}

RequestReader::State RequestReader::refuse_body_size() {
  keep_alive_ = false;
  refusal_ = Reply{413,
                   "application/json",
                   {},
                   std::make_shared<std::string>(fmt::format(
                       R"({{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure",)"
                       R"("message":"Request entity too large: limit is {}",)"
                       R"("reason":"RequestEntityTooLarge","code":413}})"
                       "\n",
                       limits_.body_bytes))};
  return State::Refused;
}

RequestReader::State RequestReader::read_head() {
  size_t start =
      buffer_.find_first_not_of("\r\n");  // RFC 9112, 2.2: empty lines before a request are ignored
  if (start != 0) {
    buffer_.erase(0, start);
    scanned_ = 0;
  }
  size_t end = buffer_.find("\r\n\r\n", scanned_ < 3 ? 0 : scanned_ - 3);
  scanned_ = buffer_.size();
  if (end > limits_.head_bytes && buffer_.size() > limits_.head_bytes) return refuse(431, "");
  if (end == buffer_.npos) return State::Head;
  std::string text = buffer_.substr(0, end + 4);
  buffer_.erase(0, end + 4);
  if (text.find('\0') != text.npos) return refuse(400, "");
  std::optional<HeadParser::Head> head = parser_.parse(text);
  if (!head) return refuse(text.find("\r\n") > 8192 ? 414 : 400, "");
  request_ = std::move(head->request);
  bool http_1_1 = head->version == "HTTP/1.1";
  if (!http_1_1 && head->version != "HTTP/1.0") return refuse(505, "unsupported protocol version");
  std::string_view connection = request_.header("Connection");
  keep_alive_ = http_1_1 ? !has_token(connection, "close") : has_token(connection, "keep-alive");
  if (http_1_1 && request_.headers.count("Host") != 1) return refuse(400, "missing required Host header");
  return frame_body(http_1_1);
}

RequestReader::State RequestReader::frame_body(bool http_1_1) {
  if (request_.headers.contains("Transfer-Encoding")) {
    if (!equal_ignoring_case(request_.header("Transfer-Encoding"), "chunked"))
      return refuse(501, "transfer encoding");
    // Both at once is how requests are smuggled.
    if (request_.headers.contains("Content-Length")) return refuse(400, "");
    chunked_.emplace(limits_.body_bytes);
  } else if (size_t count = request_.headers.count("Content-Length"); count > 0) {
    std::string_view text = request_.header("Content-Length");
    auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), content_length_);
    if (count > 1 || failure == std::errc::invalid_argument || end != text.data() + text.size())
      return refuse(400, "bad Content-Length");
    if (failure != std::errc{} || content_length_ > limits_.body_bytes) return refuse_body_size();
  }
  expect_continue_ = http_1_1 && equal_ignoring_case(request_.header("Expect"), "100-continue");
  return State::Body;
}

RequestReader::State RequestReader::read_body() {
  if (chunked_) {
    std::string_view rest = buffer_;
    ChunkedDecoder::State state = chunked_->feed(rest);
    buffer_.erase(0, buffer_.size() - rest.size());
    if (state == ChunkedDecoder::State::Malformed) return refuse(400, "malformed chunked encoding");
    if (state == ChunkedDecoder::State::TooLarge) return refuse_body_size();
    if (state == ChunkedDecoder::State::More) return State::Body;
    request_.body = chunked_->take_body();
    return State::Complete;
  }
  if (buffer_.size() < content_length_) {
    buffer_.reserve(content_length_);
    return State::Body;
  }
  request_.body = buffer_.substr(0, content_length_);
  buffer_.erase(0, content_length_);
  return State::Complete;
}

std::string_view status_text(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 101:
      return "Switching Protocols";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 413:
      return "Request Entity Too Large";
    case 414:
      return "Request URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 422:
      return "Unprocessable Entity";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Unknown";
  }
}

std::string reply_head(const Reply& reply, bool keep_alive) {
  std::string head = head_of(reply.status, reply.headers);
  if (!reply.content_type.empty()) head.append("Content-Type: ").append(reply.content_type).append("\r\n");
  if (!keep_alive) head.append("Connection: close\r\n");
  size_t size = reply.body ? reply.body->size() : 0;
  return head.append(fmt::format("Content-Length: {}\r\n\r\n", size));
}

std::string stream_head(const StreamReply& reply) {
  std::string head = head_of(reply.status, reply.headers);
  if (!reply.content_type.empty()) head.append("Content-Type: ").append(reply.content_type).append("\r\n");
  return head.append("Transfer-Encoding: chunked\r\n\r\n");
}

std::string upgrade_head(const UpgradeReply& reply) { return head_of(101, reply.headers).append("\r\n"); }

void open_chunk(std::string& out, size_t size) { fmt::format_to(std::back_inserter(out), "{:x}\r\n", size); }
void close_chunk(std::string& out) { out.append("\r\n"); }

bool has_token(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    size_t comma = list.find(',');
    std::string_view item = list.substr(0, comma);
    if (equal_ignoring_case(trim(item.substr(0, item.find(';'))), token)) return true;
    if (comma == list.npos) break;
    list.remove_prefix(comma + 1);
  }
  return false;
}

void compress(const Request& request, Reply& reply) {
  if (!reply.body || reply.body->size() <= kCompressFrom || is_loopback(request.remote_address)) return;
  if (reply.headers.contains("Content-Encoding") || !has_token(request.header("Accept-Encoding"), "gzip"))
    return;
  std::optional<std::string> packed = gzip(*reply.body);
  if (!packed) return;
  reply.body = std::make_shared<std::string>(std::move(*packed));
  reply.headers.emplace("Content-Encoding", "gzip");
  reply.headers.emplace("Vary", "Accept-Encoding");
}

}  // namespace skiff::apiserver
