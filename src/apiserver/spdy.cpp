#include "apiserver/spdy.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <deque>

namespace skiff::apiserver {

namespace {

enum ControlType : std::uint16_t {
  kSynStream = 1,
  kSynReply = 2,
  kRstStream = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kHeaders = 8,
  kWindowUpdate = 9,
};

constexpr std::uint16_t kVersion = 3;
constexpr std::uint8_t kFlagFin = 1;
constexpr size_t kFrameHeader = 8;
constexpr size_t kMaxDataFrame = 16U << 10;
constexpr size_t kAcknowledgeFrom = 32U << 10;  // half a window, so that the peer never has to wait for us
constexpr std::uint32_t kInitialWindowSetting = 7;
constexpr std::uint32_t kResetProtocolError = 1;
constexpr std::uint32_t kResetRefused = 3;
constexpr std::uint32_t kResetCancel = 5;

// The header dictionary of the SPDY/3 specification (2.6.10.1): words with their lengths, then plain text.
constexpr std::array<std::string_view, 65> kDictionaryWords{"options",
                                                            "head",
                                                            "post",
                                                            "put",
                                                            "delete",
                                                            "trace",
                                                            "accept",
                                                            "accept-charset",
                                                            "accept-encoding",
                                                            "accept-language",
                                                            "accept-ranges",
                                                            "age",
                                                            "allow",
                                                            "authorization",
                                                            "cache-control",
                                                            "connection",
                                                            "content-base",
                                                            "content-encoding",
                                                            "content-language",
                                                            "content-length",
                                                            "content-location",
                                                            "content-md5",
                                                            "content-range",
                                                            "content-type",
                                                            "date",
                                                            "etag",
                                                            "expect",
                                                            "expires",
                                                            "from",
                                                            "host",
                                                            "if-match",
                                                            "if-modified-since",
                                                            "if-none-match",
                                                            "if-range",
                                                            "if-unmodified-since",
                                                            "last-modified",
                                                            "location",
                                                            "max-forwards",
                                                            "pragma",
                                                            "proxy-authenticate",
                                                            "proxy-authorization",
                                                            "range",
                                                            "referer",
                                                            "retry-after",
                                                            "server",
                                                            "te",
                                                            "trailer",
                                                            "transfer-encoding",
                                                            "upgrade",
                                                            "user-agent",
                                                            "vary",
                                                            "via",
                                                            "warning",
                                                            "www-authenticate",
                                                            "method",
                                                            "get",
                                                            "status",
                                                            "200 OK",
                                                            "version",
                                                            "HTTP/1.1",
                                                            "url",
                                                            "public",
                                                            "set-cookie",
                                                            "keep-alive",
                                                            "origin"};
constexpr std::string_view kDictionaryText =
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 No"
    "n-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403"
    " Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Fe"
    "b Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunke"
    "d,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/"
    "javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

std::uint32_t read32(std::string_view bytes) {
  std::uint32_t value = 0;
  for (char byte : bytes.substr(0, 4)) value = value << 8 | static_cast<std::uint8_t>(byte);
  return value;
}

void put(std::string& out, std::uint32_t value, int bytes) {
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(value >> shift & 0xff));
}

std::string number(std::uint32_t value) {
  std::string out;
  put(out, value, 4);
  return out;
}

std::string header_dictionary() {
  std::string dictionary;
  for (std::string_view word : kDictionaryWords)
    dictionary.append(number(static_cast<std::uint32_t>(word.size()))).append(word);
  return dictionary.append(kDictionaryText);
}

Bytef* zlib_bytes(const char* data) { return const_cast<Bytef*>(reinterpret_cast<const Bytef*>(data)); }

// Takes a length-prefixed string off the front.
bool take_string(std::string_view& block, std::string& out) {
  if (block.size() < 4) return false;
  size_t size = read32(block);
  if (block.size() - 4 < size) return false;
  out = block.substr(4, size);
  block.remove_prefix(4 + size);
  return true;
}

bool parse_headers(std::string_view block, SpdyHeaders& headers) {
  if (block.size() < 4) return false;
  std::uint32_t count = read32(block);
  block.remove_prefix(4);
  for (std::uint32_t i = 0; i < count; ++i) {
    std::string name;
    std::string value;
    if (!take_string(block, name) || !take_string(block, value) || name.empty()) return false;
    std::ranges::transform(name, name.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
    if (!headers.emplace(std::move(name), std::move(value)).second) return false;
  }
  return block.empty();
}

}  // namespace

struct SpdySession::Stream {
  bool peer_finished = false;
  bool finish_wanted = false;
  bool finished = false;
  std::int64_t window = 65536;
  size_t unacknowledged = 0;
  std::string waiting;
};

// One compression context per direction for the life of the session, as the specification demands.
struct SpdySession::Zlib {
  Zlib() : dictionary(header_dictionary()) {
    ready = ::inflateInit(&in) == Z_OK && ::deflateInit(&out, Z_BEST_COMPRESSION) == Z_OK &&
            ::deflateSetDictionary(&out, zlib_bytes(dictionary.data()),
                                   static_cast<uInt>(dictionary.size())) == Z_OK;
  }
  ~Zlib() {
    ::inflateEnd(&in);
    ::deflateEnd(&out);
  }
  Zlib(const Zlib&) = delete;
  Zlib& operator=(const Zlib&) = delete;

  std::string dictionary;
  z_stream in{};
  z_stream out{};
  bool ready = false;
};

SpdySession::SpdySession(SpdyLimits limits) : limits_(limits), zlib_(std::make_unique<Zlib>()) {}
SpdySession::~SpdySession() = default;
SpdySession::SpdySession(SpdySession&&) noexcept = default;
SpdySession& SpdySession::operator=(SpdySession&&) noexcept = default;

Status SpdySession::receive(std::string_view bytes, std::vector<SpdyEvent>& events) {
  if (over_) return ok();
  input_.append(bytes);
  size_t used = 0;
  Status status = ok();
  while (status.ok()) {
    std::string_view rest = std::string_view(input_).substr(used);
    if (rest.size() < kFrameHeader) break;
    std::uint32_t first = read32(rest);
    std::uint32_t second = read32(rest.substr(4));
    size_t size = second & 0xffffff;
    if (size > limits_.frame_bytes) return fail("frame too large");
    if (rest.size() - kFrameHeader < size) break;
    std::string_view body = rest.substr(kFrameHeader, size);
    auto flags = static_cast<std::uint8_t>(second >> 24);
    used += kFrameHeader + size;
    if ((first & 0x80000000) == 0) {
      status = take_data(first, (flags & kFlagFin) != 0, body, events);
    } else if ((first >> 16 & 0x7fff) != kVersion) {
      status = fail("unsupported version");
    } else {
      status = take_control(static_cast<std::uint16_t>(first & 0xffff), flags, body, events);
    }
  }
  input_.erase(0, used);
  return status;
}

Status SpdySession::take_control(std::uint16_t type, std::uint8_t flags, std::string_view body,
                                 std::vector<SpdyEvent>& events) {
  switch (type) {
    case kSynStream:
      return take_syn_stream(flags, body, events);
    case kRstStream: {
      if (body.size() != 8) return fail("malformed RST_STREAM");
      SpdyStreamId id = read32(body) & 0x7fffffff;
      if (streams_.erase(id) > 0) events.push_back({SpdyEvent::Kind::Reset, id, {}, {}});
      return ok();
    }
    case kSettings:
      return take_settings(body);
    case kPing:
      if (body.size() != 4) return fail("malformed PING");
      if (read32(body) % 2 == 1) control(kPing, 0, body);  // odd: asked by the client, not an answer to us
      return ok();
    case kGoAway:
      peer_gone_ = true;
      return ok();
    case kSynReply:
    case kHeaders: {
      if (body.size() < 4) return fail("malformed header frame");
      // Nothing in them concerns us, but the compression context must follow.
      TRY_ASSIGN([[maybe_unused]] SpdyHeaders headers, inflate_headers(body.substr(4)));
      if ((flags & kFlagFin) != 0) return take_data(read32(body) & 0x7fffffff, true, {}, events);
      return ok();
    }
    case kWindowUpdate:
      return take_window_update(body);
    default:
      return ok();  // unknown control frames are to be ignored
  }
}

Status SpdySession::take_syn_stream(std::uint8_t flags, std::string_view body,
                                    std::vector<SpdyEvent>& events) {
  if (body.size() < 10) return fail("malformed SYN_STREAM");
  SpdyStreamId id = read32(body) & 0x7fffffff;
  TRY_ASSIGN(SpdyHeaders headers, inflate_headers(body.substr(10)));
  if (id % 2 == 0 || id <= last_accepted_) return fail("bad stream id");
  last_accepted_ = id;
  if (streams_.size() >= limits_.streams) {
    control(kRstStream, 0, number(id) + number(kResetRefused));
    return ok();
  }
  Stream& stream = streams_[id];
  stream.window = initial_window_;
  events.push_back({SpdyEvent::Kind::Opened, id, std::move(headers), {}});
  if ((flags & kFlagFin) != 0) {
    stream.peer_finished = true;
    events.push_back({SpdyEvent::Kind::Finished, id, {}, {}});
  }
  return ok();
}

Status SpdySession::take_data(SpdyStreamId id, bool fin, std::string_view data,
                              std::vector<SpdyEvent>& events) {
  auto found = streams_.find(id);
  if (found == streams_.end() || found->second.peer_finished) {
    // A stream that we have just closed: its last data may still be on the way.
    if (id <= last_accepted_) return ok();
    control(kRstStream, 0, number(id) + number(kResetProtocolError));
    return ok();
  }
  if (!data.empty()) events.push_back({SpdyEvent::Kind::Data, id, {}, std::string(data)});
  if (!fin) return ok();
  found->second.peer_finished = true;
  events.push_back({SpdyEvent::Kind::Finished, id, {}, {}});
  forget_if_done(id);
  return ok();
}

Status SpdySession::take_settings(std::string_view body) {
  if (body.size() < 4 || (body.size() - 4) / 8 < read32(body)) return fail("malformed SETTINGS");
  std::uint32_t count = read32(body);
  for (std::uint32_t i = 0; i < count; ++i) {
    std::string_view entry = body.substr(4 + 8 * size_t{i}, 8);
    if ((read32(entry) & 0xffffff) != kInitialWindowSetting) continue;
    std::int64_t window = read32(entry.substr(4)) & 0x7fffffff;
    for (auto& [id, stream] : streams_) stream.window += window - initial_window_;
    initial_window_ = window;
    peer_counts_ = true;
  }
  for (auto& [id, stream] : streams_) flush(id, stream);
  return ok();
}

Status SpdySession::take_window_update(std::string_view body) {
  if (body.size() != 8) return fail("malformed WINDOW_UPDATE");
  SpdyStreamId id = read32(body) & 0x7fffffff;
  std::int64_t delta = read32(body.substr(4)) & 0x7fffffff;
  peer_counts_ = true;
  auto found = streams_.find(id);
  std::int64_t* window = nullptr;
  if (id == 0) window = &session_window_;
  if (found != streams_.end()) window = &found->second.window;
  if (window == nullptr) return ok();
  *window += delta;
  if (*window > 0x7fffffff) return fail("window overflow");
  for (auto& [other, stream] : streams_) flush(other, stream);
  std::erase_if(streams_,
                [](const auto& entry) { return entry.second.finished && entry.second.peer_finished; });
  return ok();
}

Result<SpdyHeaders> SpdySession::inflate_headers(std::string_view block) {
  std::string plain;
  std::array<char, 4096> buffer;
  z_stream& in = zlib_->in;
  in.next_in = zlib_bytes(block.data());
  in.avail_in = static_cast<uInt>(block.size());
  if (!zlib_->ready) return fail("zlib").error();
  do {
    in.next_out = zlib_bytes(buffer.data());
    in.avail_out = static_cast<uInt>(buffer.size());
    int result = ::inflate(&in, Z_SYNC_FLUSH);
    if (result == Z_NEED_DICT) {
      result = ::inflateSetDictionary(&in, zlib_bytes(zlib_->dictionary.data()),
                                      static_cast<uInt>(zlib_->dictionary.size()));
      if (result != Z_OK) return fail("unknown header dictionary").error();
      continue;
    }
    if (result != Z_OK && result != Z_BUF_ERROR) return fail("corrupt header block").error();
    plain.append(buffer.data(), buffer.size() - in.avail_out);
    if (plain.size() > limits_.header_bytes) return fail("headers too large").error();
    if (result == Z_BUF_ERROR) break;
  } while (in.avail_in > 0 || in.avail_out == 0);
  SpdyHeaders headers;
  if (!parse_headers(plain, headers)) return fail("malformed header block").error();
  return headers;
}

std::string SpdySession::deflate_headers(const SpdyHeaders& headers) {
  std::string plain = number(static_cast<std::uint32_t>(headers.size()));
  for (const auto& [name, value] : headers) {
    plain.append(number(static_cast<std::uint32_t>(name.size()))).append(name);
    plain.append(number(static_cast<std::uint32_t>(value.size()))).append(value);
  }
  z_stream& out = zlib_->out;
  std::string packed(::deflateBound(&out, plain.size()) + 64, '\0');
  out.next_in = zlib_bytes(plain.data());
  out.avail_in = static_cast<uInt>(plain.size());
  out.next_out = zlib_bytes(packed.data());
  out.avail_out = static_cast<uInt>(packed.size());
  ::deflate(&out, Z_SYNC_FLUSH);
  packed.resize(packed.size() - out.avail_out);
  return packed;
}

void SpdySession::control(std::uint16_t type, std::uint8_t flags, std::string_view body) {
  put(output_, 0x80000000U | std::uint32_t{kVersion} << 16 | type, 4);
  put(output_, std::uint32_t{flags} << 24 | static_cast<std::uint32_t>(body.size()), 4);
  output_.append(body);
}

void SpdySession::data_frame(SpdyStreamId stream, bool fin, std::string_view data) {
  put(output_, stream, 4);
  put(output_, (fin ? std::uint32_t{kFlagFin} << 24 : 0) | static_cast<std::uint32_t>(data.size()), 4);
  output_.append(data);
}

void SpdySession::reply(SpdyStreamId stream) { control(kSynReply, 0, number(stream) + deflate_headers({})); }

void SpdySession::send(SpdyStreamId id, std::string_view data) {
  auto found = streams_.find(id);
  if (found == streams_.end() || found->second.finish_wanted) return;
  found->second.waiting.append(data);
  flush(id, found->second);
}

void SpdySession::finish(SpdyStreamId id) {
  auto found = streams_.find(id);
  if (found == streams_.end() || found->second.finish_wanted) return;
  found->second.finish_wanted = true;
  flush(id, found->second);
  forget_if_done(id);
}

void SpdySession::flush(SpdyStreamId id, Stream& stream) {
  size_t sent = 0;
  while (sent < stream.waiting.size()) {
    size_t count = std::min(kMaxDataFrame, stream.waiting.size() - sent);
    if (peer_counts_) {
      std::int64_t window = std::min(stream.window, session_window_);
      if (window <= 0) break;
      count = std::min(count, static_cast<size_t>(window));
    }
    stream.window -= static_cast<std::int64_t>(count);
    session_window_ -= static_cast<std::int64_t>(count);
    data_frame(id, false, std::string_view(stream.waiting).substr(sent, count));
    sent += count;
  }
  stream.waiting.erase(0, sent);
  if (!stream.finish_wanted || stream.finished || !stream.waiting.empty()) return;
  stream.finished = true;
  data_frame(id, true, {});
}

void SpdySession::forget_if_done(SpdyStreamId id) {
  auto found = streams_.find(id);
  if (found != streams_.end() && found->second.finished && found->second.peer_finished) streams_.erase(found);
}

void SpdySession::reset(SpdyStreamId stream) {
  if (streams_.erase(stream) > 0) control(kRstStream, 0, number(stream) + number(kResetCancel));
}

void SpdySession::go_away() {
  if (over_) return;
  over_ = true;
  control(kGoAway, 0, number(last_accepted_) + number(0));
}

void SpdySession::consumed(SpdyStreamId id, size_t bytes) {
  session_unacknowledged_ += bytes;
  if (session_unacknowledged_ >= kAcknowledgeFrom) {
    control(kWindowUpdate, 0, number(0) + number(static_cast<std::uint32_t>(session_unacknowledged_)));
    session_unacknowledged_ = 0;
  }
  auto found = streams_.find(id);
  if (found == streams_.end() || found->second.peer_finished) return;
  found->second.unacknowledged += bytes;
  if (found->second.unacknowledged < kAcknowledgeFrom) return;
  control(kWindowUpdate, 0, number(id) + number(static_cast<std::uint32_t>(found->second.unacknowledged)));
  found->second.unacknowledged = 0;
}

bool SpdySession::open(SpdyStreamId stream) const { return streams_.contains(stream); }

size_t SpdySession::waiting() const {
  size_t total = 0;
  for (const auto& [id, stream] : streams_) total += stream.waiting.size();
  return total;
}

Status SpdySession::fail(std::string_view why) {
  if (!over_) control(kGoAway, 0, number(last_accepted_) + number(kResetProtocolError));
  over_ = true;
  peer_gone_ = true;
  return error(Code::BadRequest, "SPDY: {}", why);
}

}  // namespace skiff::apiserver
