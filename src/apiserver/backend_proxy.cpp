#include "apiserver/backend_proxy.hpp"

#include <poll.h>

#include <optional>

#include "apiserver/about.hpp"
#include "apiserver/http.hpp"
#include "apiserver/http_answer.hpp"
#include "apiserver/wire.hpp"

namespace skiff::apiserver {

using registry::User;

namespace {

constexpr size_t kMaxHead = 64U << 10;
constexpr size_t kMaxPiece = 64U << 20;  // of a chunk's decoded bytes at a time
constexpr size_t kAhead = 1U << 20;      // how far a backend may be ahead of a client
constexpr Duration kConnectPatience = 30s;
constexpr Duration kLastWords = 5s;        // for a client to take the end of an upgraded connection
constexpr Duration kAnswerPatience = 60s;  // between two pieces of an answer that is no watch

bool begins(std::string_view name, std::string_view prefix) {
  return name.size() >= prefix.size() && ::strncasecmp(name.data(), prefix.data(), prefix.size()) == 0;
}

// Says who somebody is: ours to say.
bool is_identity_header(std::string_view name) {
  return begins(name, "Impersonate-") || begins(name, "X-Remote-Extra-") ||
         (begins(name, "X-Remote-") && (begins(name, "X-Remote-User") || begins(name, "X-Remote-Group") ||
                                        begins(name, "X-Remote-Uid")));
}

// A key of extra as a header's name can hold it.
std::string escaped(std::string_view key) {
  constexpr std::string_view kPlain = "!#$&'*+-.^_`|~";
  std::string out;
  for (char c : key) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (letter || kPlain.find(c) != kPlain.npos) out.push_back(c);
    else out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

void add_header(std::string& text, std::string_view name, std::string_view value) {
  if (value.find_first_of("\r\n") != value.npos) return;  // no name has any: nothing is to be smuggled in
  text.append(name).append(": ").append(value).append("\r\n");
}

/// One request's way to its backend and back.
class Passing {
 public:
  Passing(TlsClient& connection, StreamSink& sink) : connection_(connection), sink_(sink) {}

  Status run(bool head_only, bool endless, const std::stop_token& stop) {
    TRY_ASSIGN(AnswerHead head, read_head());
    bool empty = head_only || head.status == 204 || head.status == 304 || head.length == size_t{0};
    if (empty) {
      sink_.answer({head.status, "", std::move(head.headers), nullptr});
      return ok();
    }
    StreamReply begin;
    begin.status = head.status;
    begin.content_type.clear();
    begin.headers = std::move(head.headers);
    sink_.begin(begin);
    if (endless) connection_.set_deadline(TlsClient::Deadline::max());
    decoder_ = head.chunked ? std::make_optional<ChunkedDecoder>(kMaxPiece) : std::nullopt;
    left_ = head.length;
    while (hand_on(std::move(rest_)) && sink_.wait_below(kAhead, stop)) {
      if (!endless) connection_.set_deadline(std::chrono::steady_clock::now() + kAnswerPatience);
      TRY_ASSIGN(rest_, connection_.receive());
      if (rest_.empty()) break;
    }
    return ok();
  }

 private:
  Result<AnswerHead> read_head() {
    std::string text;
    for (;;) {
      TRY_ASSIGN(std::string piece, connection_.receive());
      if (piece.empty()) return Error(Code::Unavailable, "EOF");
      text.append(piece);
      size_t end = text.find("\r\n\r\n");
      if (end != text.npos) {
        rest_ = text.substr(end + 4);
        return parse_answer_head(std::string_view(text).substr(0, end + 4));
      }
      if (text.size() > kMaxHead) return Error(Code::Unavailable, "the head of the answer is too large");
    }
  }

  // False at the end of the body.
  bool hand_on(std::string piece) {
    bool more = true;
    if (decoder_) {
      std::string_view bytes = piece;
      more = decoder_->feed(bytes) == ChunkedDecoder::State::More;
      piece = decoder_->take_body();
    } else if (left_) {
      piece.resize(std::min(piece.size(), *left_));
      *left_ -= piece.size();
      more = *left_ > 0;
    }
    if (!piece.empty() && !sink_.write(std::make_shared<std::string>(std::move(piece)))) return false;
    return more;
  }

  TlsClient& connection_;
  StreamSink& sink_;
  std::string rest_;
  std::optional<ChunkedDecoder> decoder_;
  std::optional<size_t> left_;
};

/// The bytes of an upgraded connection, both ways, until either side ends.
void relay(Wire& wire, TlsClient& backend) {
  std::string to_client;
  for (;;) {
    while (to_client.size() < kSessionBuffer) {
      Result<std::optional<std::string>> piece = backend.receive_now();
      if (piece.ok() && !piece.value()) break;
      if (!piece.ok() || piece.value()->empty()) return wire.finish(to_client, kLastWords);
      to_client += *piece.value();
    }
    std::vector<pollfd> others;
    if (to_client.size() < kSessionBuffer) others.push_back({backend.fd(), POLLIN, 0});
    Wire::Round round = wire.wait(others, to_client, true);
    backend.set_deadline(std::chrono::steady_clock::now() + kAnswerPatience);
    if (!round.received.empty() && !backend.send(round.received).ok()) return;
    if (round.closed || round.stopped) return;
  }
}

Reply unreachable(const Error& error) {
  return text_reply(503, fmt::format("error trying to reach service: {}\n", error.message()));
}

bool wants_upgrade(const Request& request) {
  return has_token(request.header("Connection"), "upgrade") && !request.header("Upgrade").empty();
}

bool is_endless(const Request& request) {
  return request.method == "GET" && (request.query.contains("watch") || request.query.contains("follow") ||
                                     request.path.find("/watch/") != std::string::npos);
}

Response upgrade_through(std::string text, std::shared_ptr<const Backend> backend,
                         std::shared_ptr<const BackendCaller> caller) {
  UpgradeReply reply;
  reply.late_head = true;  // that of the backend, which may as well refuse
  reply.run = [text = std::move(text), backend, caller](Connection& client, std::string early, std::stop_token stop) {
    Result<std::unique_ptr<Wire>> wire = Wire::create(client, std::move(early), stop);
    if (!wire.ok()) return;
    Result<std::unique_ptr<TlsClient>> connection =
        caller->connect(*backend, std::chrono::steady_clock::now() + kConnectPatience);
    Status sent = connection.ok() ? connection.value()->send(text) : Status(connection.error());
    if (sent.ok()) return relay(*wire.value(), *connection.value());
    Reply refusal = unreachable(sent.error());
    std::string answer = reply_head(refusal, false) + *refusal.body;
    wire.value()->finish(answer, kLastWords);
  };
  return reply;
}

}  // namespace

std::string backend_request(const Request& request, const User& user, const Backend& backend) {
  std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: {}:{}\r\n", request.method, request.target,
                                 backend.host(), backend.port);
  if (wants_upgrade(request)) {
    text.append("Connection: Upgrade\r\n");
    add_header(text, "Upgrade", request.header("Upgrade"));
  } else {
    text.append("Connection: close\r\n");
  }
  for (const auto& [name, value] : request.headers)
    if (!is_hop_header(name) && !is_identity_header(name) && !begins(name, "X-Forwarded-For"))
      add_header(text, name, value);
  add_header(text, "X-Remote-User", user.name);
  if (!user.uid.empty()) add_header(text, "X-Remote-Uid", user.uid);
  for (const std::string& group : user.groups) add_header(text, "X-Remote-Group", group);
  for (const auto& [key, values] : user.extra)
    for (const std::string& value : values) add_header(text, "X-Remote-Extra-" + escaped(key), value);
  std::string via(request.header("X-Forwarded-For"));
  add_header(text, "X-Forwarded-For", via.empty() ? request.remote_address : via + ", " + request.remote_address);
  bool has_body = !request.body.empty() || request.method == "POST" || request.method == "PUT";
  if (has_body) text.append(fmt::format("Content-Length: {}\r\n", request.body.size()));
  return text.append("\r\n").append(request.body);
}

Response pass_to_backend(const Request& request, const User& user, std::shared_ptr<const Backend> backend,
                         std::shared_ptr<const BackendCaller> caller) {
  if (!backend->available) return text_reply(503, "service unavailable\n");
  std::string text = backend_request(request, user, *backend);
  if (wants_upgrade(request)) return upgrade_through(std::move(text), std::move(backend), std::move(caller));
  StreamReply reply;
  reply.own_thread = true;
  reply.late_head = true;
  reply.start = [text = std::move(text), head_only = request.method == "HEAD",
                 endless = is_endless(request), backend, caller](std::shared_ptr<StreamSink> sink, std::stop_token stop) {
    Result<std::unique_ptr<TlsClient>> made =
        caller->connect(*backend, std::chrono::steady_clock::now() + kConnectPatience);
    if (!made.ok()) return sink->answer(unreachable(made.error()));
    std::shared_ptr<TlsClient> connection = std::move(made).value();
    // A client that leaves, or the end of the server, wakes whoever waits for the backend.
    sink->on_closed([connection] { connection->interrupt(); });
    std::stop_callback ending(stop, [connection] { connection->interrupt(); });
    Status passed = connection->send(text);
    if (passed.ok()) passed = Passing(*connection, *sink).run(head_only, endless, stop);
    if (!passed.ok()) sink->answer(unreachable(passed.error()));  // unless something has been sent
    sink->close();
  };
  return reply;
}

}  // namespace skiff::apiserver
