// nghttp2 reads and writes the frames, and refuses what breaks the rules of HTTP in them; what is passed on is written
// anew as HTTP/1 and read again by whoever is at the other end of the pipe.
#include "net/http2_connection.hpp"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>

namespace skiff::net {
namespace {

constexpr size_t kBuffer = 256 << 10;
constexpr size_t kChunk = 64 << 10;
constexpr std::uint32_t kMaxStreams = 128;
constexpr std::uint32_t kWindow = 256 << 10;
constexpr Duration kFirstPatience = 15s, kIdlePatience = 75s;
/// So many streams more than others may be taken back: who opens and cancels without end costs more than he pays.
constexpr std::uint64_t kMaxResets = 200;

/// Of one connection, or written anew.
bool crosses(std::string_view name) {
  for (std::string_view one : {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "host",
                               "http2-settings"})
    if (same_token(one, name)) return false;
  return true;
}

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

nghttp2_nv entry(const std::string& name, const std::string& value) {
  auto bytes = [](const std::string& text) { return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(text.data())); };
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

std::vector<nghttp2_nv> entries(const HttpHeaders& headers) {
  std::vector<nghttp2_nv> all;
  all.reserve(headers.size());
  for (const HttpHeader& header : headers) all.push_back(entry(header.name, header.value));
  return all;
}

bool would_block() { return errno == EAGAIN || errno == EINTR; }

}  // namespace

struct Http2Connection::Stream {
  std::int32_t id = 0;
  UniqueFd pipe;  // closed when the other end needs no more
  std::uint32_t watched = 0;

  // What comes as frames and goes into the pipe.
  HttpHeaders head;
  std::string method, path, authority, status;
  size_t head_size = 0;
  bool has_head = false, chunked = false, message_ended = false, refused = false, closed = false;
  std::string to_pipe;
  size_t unacknowledged = 0;  // data in to_pipe that the peer's window has not got back

  // What comes out of the pipe and goes as frames.
  std::string from_pipe, body;
  bool pipe_ended = false, head_sent = false, deferred = false;
  bool to_head = false;  // the answer to a HEAD request
  HttpBodyReader reader{{}};
};

struct Http2Connection::Callbacks {
  static Http2Connection& self(void* data) { return *static_cast<Http2Connection*>(data); }

  static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* data) {
    if (frame->hd.type == NGHTTP2_HEADERS) self(data).begin_message(frame->hd.stream_id);
    return 0;
  }
  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, size_t name_size,
                       const std::uint8_t* value, size_t value_size, std::uint8_t, void* data) {
    self(data).take_header(frame->hd.stream_id, {reinterpret_cast<const char*>(name), name_size},
                           {reinterpret_cast<const char*>(value), value_size});
    return 0;
  }
  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* data) {
    bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_HEADERS) self(data).take_head(frame->hd.stream_id, ends);
    if (frame->hd.type == NGHTTP2_RST_STREAM) ++self(data).reset_;
    if (frame->hd.type != NGHTTP2_DATA || !ends) return 0;
    auto stream = self(data).streams_.find(frame->hd.stream_id);
    if (stream != self(data).streams_.end()) self(data).finish_message(*stream->second);
    return 0;
  }
  static int on_data(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* bytes, size_t size, void* data) {
    self(data).take_data(id, {reinterpret_cast<const char*>(bytes), size});
    return 0;
  }
  static int on_close(nghttp2_session*, std::int32_t id, std::uint32_t, void* data) {
    self(data).drop(id);
    return 0;
  }
  static ssize_t read_body(nghttp2_session* session, std::int32_t id, std::uint8_t* out, size_t room,
                           std::uint32_t* flags, nghttp2_data_source* source, void*) {
    Stream& stream = *static_cast<Stream*>(source->ptr);
    size_t size = std::min(room, stream.body.size());
    memcpy(out, stream.body.data(), size);
    stream.body.erase(0, size);
    if (!stream.body.empty()) return static_cast<ssize_t>(size);
    if (!stream.reader.done()) {
      stream.deferred = size == 0;
      return size == 0 ? ssize_t{NGHTTP2_ERR_DEFERRED} : static_cast<ssize_t>(size);
    }
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    HttpHeaders trailers = stream.reader.trailers();
    if (!trailers.empty()) {
      for (HttpHeader& one : trailers) one.name = lower(one.name);
      std::vector<nghttp2_nv> all = entries(trailers);
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      nghttp2_submit_trailer(session, id, all.data(), all.size());
    }
    return static_cast<ssize_t>(size);
  }
};

Http2Connection::Http2Connection(EventLoop& loop, std::unique_ptr<Channel> client, OnStream on_stream,
                                 std::function<void()> on_end)
    : Http2Connection(loop, Role::Server, std::move(client), std::move(on_stream), std::move(on_end)) {}

Http2Connection::Http2Connection(EventLoop& loop, std::unique_ptr<Channel> server, std::function<void()> on_end)
    : Http2Connection(loop, Role::Client, std::move(server), nullptr, std::move(on_end)) {}

Http2Connection::Http2Connection(EventLoop& loop, Role role, std::unique_ptr<Channel> peer, OnStream on_stream,
                                 std::function<void()> on_end)
    : loop_(loop), role_(role), peer_(std::move(peer)), on_stream_(std::move(on_stream)), on_end_(std::move(on_end)) {}

Http2Connection::~Http2Connection() {
  if (watched_ != 0) loop_.unwatch(peer_->fd());
  for (auto& [id, stream] : streams_)
    if (stream->watched != 0) loop_.unwatch(stream->pipe.get());
  if (waiting_ && waiting_->watched != 0) loop_.unwatch(waiting_->pipe.get());
  if (idle_ != 0) loop_.cancel(idle_);
  nghttp2_session_del(session_);
}

Status Http2Connection::start(std::string_view received) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_option* options = nullptr;
  if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&options) != 0)
    return error(Code::Internal, "nghttp2: no memory");
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, Callbacks::on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::on_header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::on_frame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Callbacks::on_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::on_close);
  nghttp2_option_set_no_auto_window_update(options, 1);  // the window opens as the pipe takes what came
  int made = role_ == Role::Server ? nghttp2_session_server_new2(&session_, callbacks, this, options)
                                   : nghttp2_session_client_new2(&session_, callbacks, this, options);
  nghttp2_option_del(options);
  nghttp2_session_callbacks_del(callbacks);
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kMaxStreams},
                                             {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindow},
                                             {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kMaxHttpHead},
                                             {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
  size_t count = role_ == Role::Server ? 3 : 4;
  if (made != 0 || nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, count) != 0)
    return error(Code::Internal, "nghttp2: no session");
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, 4 * kWindow);
  rest();
  if (!feed(received.data(), received.size())) return error(Code::Invalid, "not HTTP/2");
  readable_ = true;
  pump();
  return ok();
}

Result<std::unique_ptr<Http2Connection::Stream>> Http2Connection::make_stream(UniqueFd& other_end) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
    return errno_error(errno, "socketpair");
  auto stream = std::make_unique<Stream>();
  stream->pipe = UniqueFd(ends[0]);
  other_end = UniqueFd(ends[1]);
  return stream;
}

Result<UniqueFd> Http2Connection::open_stream() {
  UniqueFd other_end;
  TRY_ASSIGN(waiting_, make_stream(other_end));
  watch_pipe(*waiting_);
  return other_end;
}

// ---- the peer

void Http2Connection::on_peer(std::uint32_t events) {
  if ((events & (EPOLLIN | EPOLLRDHUP)) != 0) readable_ = true;
  if ((events & EPOLLOUT) != 0) {
    blocked_ = false;
    if (peer_->wants_write()) readable_ = true;
  }
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) ended_ = true;
  pump();
}

/// Everything that can be done now; then waits. May end the connection, and with it this object.
void Http2Connection::pump() {
  if (pumping_) return;
  pumping_ = true;
  bool moved = true;
  while (moved && !ended_) {
    moved = read_peer();
    moved = write_peer() || moved;
  }
  pumping_ = false;
  if (!ended_) watch_pipes();
  bool over = nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0 && out_.empty();
  bool answered = role_ == Role::Client && !waiting_ && streams_.empty();
  if (ended_ || over || answered || !watch_peer()) {
    std::function<void()> on_end = std::move(on_end_);
    on_end();  // this object is gone after it
  }
}

bool Http2Connection::read_peer() {
  if (!readable_ || out_.size() >= kBuffer) return false;
  char buffer[kChunk];
  std::ptrdiff_t size = peer_->read(buffer, sizeof buffer);
  if (size == Channel::kAgain) {
    readable_ = false;
    return false;
  }
  if (size <= 0 || !feed(buffer, static_cast<size_t>(size))) ended_ = true;
  return true;
}

bool Http2Connection::feed(const char* data, size_t size) {
  if (size == 0) return true;
  ssize_t taken = nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(data), size);
  if (taken < 0) return false;
  if (reset_ > opened_ / 2 + kMaxResets) nghttp2_session_terminate_session(session_, NGHTTP2_ENHANCE_YOUR_CALM);
  return true;
}

bool Http2Connection::write_peer() {
  while (out_.size() < kBuffer) {
    const std::uint8_t* bytes = nullptr;
    ssize_t size = nghttp2_session_mem_send(session_, &bytes);
    if (size < 0) ended_ = true;
    if (size <= 0) break;
    out_.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
  }
  if (out_.empty() || blocked_) return false;
  std::ptrdiff_t size = peer_->write(out_.data(), out_.size());
  if (size == Channel::kAgain) {
    blocked_ = true;
    return false;
  }
  if (size <= 0) {
    ended_ = true;
    return false;
  }
  out_.erase(0, static_cast<size_t>(size));
  return true;
}

bool Http2Connection::watch_peer() {
  bool reading = out_.size() < kBuffer, writing = (blocked_ && !out_.empty()) || peer_->wants_write();
  std::uint32_t events = (reading ? std::uint32_t{EPOLLIN} : 0U) | (writing ? std::uint32_t{EPOLLOUT} : 0U);
  if (events == watched_) return true;
  watched_ = events;
  return loop_.watch(peer_->fd(), events, [this](std::uint32_t e) { on_peer(e); }).ok();
}

void Http2Connection::rest() {
  if (role_ == Role::Client) return;  // whoever asks has patience of his own
  if (idle_ != 0) loop_.cancel(idle_);
  idle_ = loop_.after(opened_ == 0 ? kFirstPatience : kIdlePatience, [this] {
    idle_ = 0;
    // Streams whose request is being answered have deadlines of their own.
    bool busy = std::any_of(streams_.begin(), streams_.end(),
                            [](const auto& one) { return one.second->pipe && !one.second->pipe_ended; });
    if (busy) return rest();
    nghttp2_session_terminate_session(session_, NGHTTP2_NO_ERROR);
    pump();
  });
}

// ---- frames to the pipe

void Http2Connection::begin_message(std::int32_t id) {
  if (role_ != Role::Server || streams_.contains(id)) return;  // answers and trailers belong to streams that are
  auto stream = std::make_unique<Stream>();
  stream->id = id;
  streams_[id] = std::move(stream);
  ++opened_;
}

void Http2Connection::take_header(std::int32_t id, std::string_view name, std::string_view value) {
  auto found = streams_.find(id);
  if (found == streams_.end()) return;
  Stream& stream = *found->second;
  stream.head_size += name.size() + value.size() + 4;
  if (stream.refused) return;
  if (stream.head_size > kMaxHttpHead) return refuse(id);
  std::string text(value);
  if (name == ":method") stream.method = text;
  if (name == ":path") stream.path = text;
  if (name == ":authority") stream.authority = text;
  if (name == ":status") stream.status = text;
  if (name == "host" && stream.authority.empty()) stream.authority = text;
  if (name.starts_with(':') || !crosses(name)) return;
  HttpHeader* cookie = nullptr;
  for (HttpHeader& header : stream.head)
    if (name == "cookie" && header.name == name) cookie = &header;
  if (cookie != nullptr)
    cookie->value += "; " + text;  // one header in HTTP/1 (RFC 9113, 8.2.3)
  else
    stream.head.push_back({std::string(name), std::move(text)});
}

/// All headers of a block are there: a head, an interim answer, or trailers.
void Http2Connection::take_head(std::int32_t id, bool ends) {
  auto found = streams_.find(id);
  if (found == streams_.end()) return;
  Stream& stream = *found->second;
  if (stream.refused) return;
  if (stream.has_head) return ends ? finish_message(stream) : void();  // trailers
  bool interim = role_ == Role::Client && stream.status.starts_with('1');
  if (!interim) {
    stream.has_head = true;
    open_pipe(id, stream, ends);
  }
  stream.head.clear();
  stream.head_size = 0;
}

/// Writes the head as HTTP/1; a server's stream has no pipe before it.
void Http2Connection::open_pipe(std::int32_t id, Stream& stream, bool ends) {
  bool sized = find_header(stream.head, "content-length") != nullptr;
  bool bodyless = stream.to_head || stream.status == "204" || stream.status == "304";
  std::string text = role_ == Role::Server ? fmt::format("{} {} HTTP/1.1\r\nhost: {}\r\n", stream.method, stream.path, stream.authority)
                                           : fmt::format("HTTP/1.1 {} \r\n", stream.status);
  append_headers(text, stream.head);
  stream.chunked = !ends && !sized && !bodyless;
  if (stream.chunked) text += "transfer-encoding: chunked\r\n";
  if (ends && !sized && role_ == Role::Client && !bodyless) text += "content-length: 0\r\n";
  stream.to_pipe += text + "\r\n";
  if (role_ == Role::Server) {
    UniqueFd other_end;
    Result<std::unique_ptr<Stream>> made = make_stream(other_end);
    if (!made.ok()) return refuse(id);
    stream.pipe = std::move(made.value()->pipe);
    stream.to_head = stream.method == "HEAD";
    on_stream_(std::move(other_end));
  }
  if (ends) finish_message(stream);
  flush_pipe(stream);
  watch_pipe(stream);
}

void Http2Connection::take_data(std::int32_t id, std::string_view data) {
  auto found = streams_.find(id);
  if (found == streams_.end() || !found->second->pipe) {
    nghttp2_session_consume(session_, id, data.size());  // nobody wants it
    return;
  }
  Stream& stream = *found->second;
  if (stream.chunked)
    append_chunk(stream.to_pipe, data);
  else
    stream.to_pipe += data;
  stream.unacknowledged += data.size();
  flush_pipe(stream);
  watch_pipe(stream);
}

/// Nothing more comes in this direction, but trailers may have.
void Http2Connection::finish_message(Stream& stream) {
  if (std::exchange(stream.message_ended, true)) return;
  if (stream.chunked) {
    stream.to_pipe += "0\r\n";
    append_headers(stream.to_pipe, stream.head);
    stream.to_pipe += "\r\n";
  }
  stream.head.clear();
  flush_pipe(stream);
  watch_pipe(stream);
}

void Http2Connection::flush_pipe(Stream& stream) {
  while (stream.pipe && !stream.to_pipe.empty()) {
    ssize_t size = ::send(stream.pipe.get(), stream.to_pipe.data(), stream.to_pipe.size(), MSG_NOSIGNAL);
    if (size < 0 && would_block()) return;
    if (size < 0) {
      stream.to_pipe.clear();  // it wants no more; what it says is read still
      break;
    }
    stream.to_pipe.erase(0, static_cast<size_t>(size));
  }
  if (!stream.to_pipe.empty() || stream.unacknowledged == 0) return;
  nghttp2_session_consume(session_, stream.id, std::exchange(stream.unacknowledged, 0));
}

// ---- the pipe to frames

void Http2Connection::on_pipe(std::int32_t id, std::uint32_t events) {
  auto found = streams_.find(id);
  Stream* stream = found != streams_.end() ? found->second.get() : id == 0 ? waiting_.get() : nullptr;
  if (stream == nullptr) return;
  if ((events & EPOLLOUT) != 0) flush_pipe(*stream);
  if (stream->closed && stream->to_pipe.empty()) {
    forget(id);
    return pump();
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read_pipe(*stream);
  send_message(*stream);
  pump();
}

/// Pipes are read while there is room for what they say, which frames that went out made.
void Http2Connection::watch_pipes() {
  for (auto& [id, stream] : streams_) watch_pipe(*stream);
  if (waiting_) watch_pipe(*waiting_);
}

void Http2Connection::read_pipe(Stream& stream) {
  char buffer[kChunk];
  while (!stream.pipe_ended && stream.from_pipe.size() + stream.body.size() < kBuffer) {
    ssize_t size = ::recv(stream.pipe.get(), buffer, sizeof buffer, 0);
    if (size < 0 && would_block()) return;
    if (size <= 0) stream.pipe_ended = true;
    if (size > 0) stream.from_pipe.append(buffer, static_cast<size_t>(size));
    if (size > 0 && static_cast<size_t>(size) < sizeof buffer) return;
  }
}

void Http2Connection::send_message(Stream& stream) {
  if (stream.closed || stream.refused) return;
  if (!stream.head_sent && !send_head(stream)) return;
  stream.reader.take(stream.from_pipe, stream.body);
  if (stream.pipe_ended && stream.from_pipe.empty()) stream.reader.end();
  if (stream.reader.broken()) return refuse(stream.id);
  bool more = !stream.body.empty() || stream.reader.done();
  if (more && std::exchange(stream.deferred, false)) nghttp2_session_resume_data(session_, stream.id);
}

/// False: it is not complete, or was refused.
bool Http2Connection::send_head(Stream& stream) {
  HttpHeaders headers;
  HttpFraming framing;
  const HttpHeaders* given = nullptr;
  HttpParsed<HttpRequestHead> request;
  HttpParsed<HttpResponseHead> answer;
  if (role_ == Role::Client) {
    request = parse_request_head(stream.from_pipe);
    if (!request.head) {
      if (request.refusal || stream.pipe_ended) refuse(stream.id);
      return false;
    }
    stream.from_pipe.erase(0, request.used);
    framing = request.head->body;
    given = &request.head->headers;
    stream.to_head = request.head->method == "HEAD";
    headers = {{":method", request.head->method}, {":scheme", "http"}, {":authority", request.head->authority},
               {":path", request.head->target}};
  } else {
    answer = parse_response_head(stream.from_pipe, stream.to_head);
    if (!answer.head) {
      if (answer.refusal || stream.pipe_ended) refuse(stream.id);
      return false;
    }
    stream.from_pipe.erase(0, answer.used);
    if (answer.head->status < 200) return send_head(stream);  // clients of HTTP/2 do not wait for "continue"
    framing = answer.head->body;
    given = &answer.head->headers;
    headers = {{":status", std::to_string(answer.head->status)}};
  }
  for (const HttpHeader& header : *given)
    if (crosses(header.name) && !same_token(header.name, "te")) headers.push_back({lower(header.name), header.value});
  if (role_ == Role::Client) headers.push_back({"te", "trailers"});
  stream.head_sent = true;
  stream.reader = HttpBodyReader(framing);
  std::vector<nghttp2_nv> all = entries(headers);
  nghttp2_data_provider body{.source = {.ptr = &stream}, .read_callback = Callbacks::read_body};
  nghttp2_data_provider* provider = framing.kind == HttpFraming::Kind::None ? nullptr : &body;
  if (role_ == Role::Server)
    return nghttp2_submit_response(session_, stream.id, all.data(), all.size(), provider) == 0;
  stream.id = nghttp2_submit_request(session_, nullptr, all.data(), all.size(), provider, nullptr);
  if (stream.id < 0) {
    ended_ = true;
    return false;
  }
  if (stream.watched != 0) loop_.unwatch(stream.pipe.get());
  stream.watched = 0;  // watched again as this stream
  streams_[stream.id] = std::move(waiting_);
  return true;
}

void Http2Connection::watch_pipe(Stream& stream) {
  if (!stream.pipe) return;
  // A client's request has ended when its message has, a server's answer too: the pipe says nothing more then.
  bool reading = !stream.closed && !stream.pipe_ended && stream.from_pipe.size() + stream.body.size() < kBuffer;
  std::uint32_t events = (reading ? std::uint32_t{EPOLLIN} : 0U) | (stream.to_pipe.empty() ? 0U : std::uint32_t{EPOLLOUT});
  if (events == stream.watched) return;
  stream.watched = events;
  if (events == 0) return loop_.unwatch(stream.pipe.get());
  if (!loop_.watch(stream.pipe.get(), events, [this, id = stream.id](std::uint32_t e) { on_pipe(id, e); }).ok())
    refuse(stream.id);
}

/// The stream is over for nghttp2; what came of a whole message is still to be read.
void Http2Connection::drop(std::int32_t id) {
  auto found = streams_.find(id);
  if (found == streams_.end()) return;
  Stream& stream = *found->second;
  stream.closed = true;
  flush_pipe(stream);
  if (stream.message_ended && !stream.to_pipe.empty()) return;
  forget(id);
}

void Http2Connection::forget(std::int32_t id) {
  auto found = streams_.find(id);
  if (found == streams_.end()) return;
  if (found->second->watched != 0) loop_.unwatch(found->second->pipe.get());
  streams_.erase(found);
  if (streams_.empty()) rest();
}

void Http2Connection::refuse(std::int32_t id) {
  if (id <= 0) {
    if (waiting_ && waiting_->watched != 0) loop_.unwatch(waiting_->pipe.get());
    waiting_.reset();
    ended_ = true;
    return;
  }
  if (auto stream = streams_.find(id); stream != streams_.end()) stream->second->refused = true;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_INTERNAL_ERROR);
}

}  // namespace skiff::net
