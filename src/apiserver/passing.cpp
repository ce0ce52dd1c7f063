#include "apiserver/passing.hpp"

#include <poll.h>

#include <optional>

#include "apiserver/about.hpp"
#include "apiserver/http.hpp"
#include "apiserver/upgrade.hpp"
#include "apiserver/wire.hpp"

namespace skiff::apiserver {

namespace {

constexpr size_t kMaxHead = 64U << 10;
constexpr size_t kMaxPiece = 64U << 20;  // of a chunk's decoded bytes at a time
constexpr size_t kAhead = 1U << 20;      // how far a server may be ahead of a client
constexpr Duration kConnectPatience = 30s;
constexpr Duration kLastWords = 5s;        // for a client to take the end of an upgraded connection
constexpr Duration kAnswerPatience = 60s;  // between two pieces of an answer that is no watch

Outbound::Deadline in(Duration patience) { return std::chrono::steady_clock::now() + patience; }

/// One answer's way back.
class Answering {
 public:
  Answering(Outbound& connection, StreamSink& sink, const Onward& onward)
      : connection_(connection), sink_(sink), onward_(onward) {}

  Status run(bool head_only, bool endless, const std::stop_token& stop) {
    connection_.set_deadline(endless ? Outbound::Deadline::max() : in(kAnswerPatience));
    TRY_ASSIGN(AnswerHead head, read_head());
    if (onward_.look) filter_ = onward_.look(head);
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
    decoder_ = head.chunked ? std::make_optional<ChunkedDecoder>(kMaxPiece) : std::nullopt;
    left_ = head.length;
    while (hand_on(std::move(rest_)) && sink_.wait_below(kAhead, stop)) {
      if (!endless) connection_.set_deadline(in(kAnswerPatience));
      TRY_ASSIGN(rest_, connection_.receive());
      if (rest_.empty()) break;
    }
    if (filter_) write(filter_->finish());
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
    if (!piece.empty() && !write(filter_ ? filter_->feed(piece) : std::move(piece))) return false;
    return more;
  }

  bool write(std::string piece) {
    return piece.empty() || sink_.write(std::make_shared<std::string>(std::move(piece)));
  }

  Outbound& connection_;
  StreamSink& sink_;
  const Onward& onward_;
  std::unique_ptr<BodyFilter> filter_;
  std::string rest_;
  std::optional<ChunkedDecoder> decoder_;
  std::optional<size_t> left_;
};

/// The bytes of an upgraded connection, both ways, until either side ends.
void relay(Wire& wire, Outbound& server) {
  std::string to_client;
  for (;;) {
    while (to_client.size() < kSessionBuffer) {
      Result<std::optional<std::string>> piece = server.receive_now();
      if (piece.ok() && !piece.value()) break;
      if (!piece.ok() || piece.value()->empty()) return wire.finish(to_client, kLastWords);
      to_client += *piece.value();
    }
    std::vector<pollfd> others;
    if (to_client.size() < kSessionBuffer) others.push_back({server.fd(), POLLIN, 0});
    Wire::Round round = wire.wait(others, to_client, true);
    server.set_deadline(in(kAnswerPatience));
    if (!round.received.empty() && !server.send(round.received).ok()) return;
    if (round.closed || round.stopped) return;
  }
}

bool is_endless(const Request& request) {
  return request.method == "GET" && (request.query.contains("watch") || request.query.contains("follow") ||
                                     request.path.find("/watch/") != std::string::npos);
}

Response upgrade_through(Onward onward) {
  UpgradeReply reply;
  reply.late_head = true;  // that of the server, which may as well refuse
  reply.run = [onward = std::move(onward)](Connection& client, std::string early, std::stop_token stop) {
    Result<std::unique_ptr<Wire>> wire = Wire::create(client, std::move(early), stop);
    if (!wire.ok()) return;
    Result<std::unique_ptr<Outbound>> connection = onward.connect(in(kConnectPatience));
    Status sent = connection.ok() ? connection.value()->send(onward.text) : Status(connection.error());
    if (sent.ok()) return relay(*wire.value(), *connection.value());
    Reply refusal = onward.unreachable(sent.error());
    std::string answer = reply_head(refusal, false) + *refusal.body;
    wire.value()->finish(answer, kLastWords);
  };
  return reply;
}

}  // namespace

void add_header(std::string& text, std::string_view name, std::string_view value) {
  if (value.find_first_of("\r\n") != value.npos) return;  // no name has any: nothing is to be smuggled in
  text.append(name).append(": ").append(value).append("\r\n");
}

std::string onward_request(const Request& request, std::string_view target, std::string_view host,
                           const std::function<bool(std::string_view name)>& drop, std::string_view more_headers) {
  std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, target, host);
  if (wants_upgrade(request)) {
    text.append("Connection: Upgrade\r\n");
    add_header(text, "Upgrade", request.header("Upgrade"));
  } else {
    text.append("Connection: close\r\n");
  }
  for (const auto& [name, value] : request.headers)
    if (!is_hop_header(name) && !drop(name) && !same_header(name, "X-Forwarded-For")) add_header(text, name, value);
  text.append(more_headers);
  std::string via(request.header("X-Forwarded-For"));
  add_header(text, "X-Forwarded-For", via.empty() ? request.remote_address : via + ", " + request.remote_address);
  bool has_body = !request.body.empty() || request.method == "POST" || request.method == "PUT";
  if (has_body) text.append(fmt::format("Content-Length: {}\r\n", request.body.size()));
  return text.append("\r\n").append(request.body);
}

Response pass_on(const Request& request, Onward onward) {
  if (wants_upgrade(request)) return upgrade_through(std::move(onward));
  StreamReply reply;
  reply.own_thread = true;
  reply.late_head = true;
  const bool endless = onward.patient || is_endless(request);
  reply.start = [onward = std::move(onward), head_only = request.method == "HEAD", endless](
                    std::shared_ptr<StreamSink> sink, std::stop_token stop) {
    Result<std::unique_ptr<Outbound>> made = onward.connect(in(kConnectPatience));
    if (!made.ok()) return sink->answer(onward.unreachable(made.error()));
    std::shared_ptr<Outbound> connection = std::move(made).value();
    // A client that leaves, or the end of the server, wakes whoever waits for the answer.
    sink->on_closed([connection] { connection->interrupt(); });
    std::stop_callback ending(stop, [connection] { connection->interrupt(); });
    Status passed = connection->send(onward.text);
    if (passed.ok()) passed = Answering(*connection, *sink, onward).run(head_only, endless, stop);
    if (!passed.ok()) sink->answer(onward.unreachable(passed.error()));  // unless something has been sent
    sink->close();
  };
  return reply;
}

}  // namespace skiff::apiserver
