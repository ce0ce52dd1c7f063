#include "apiserver/remote.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "apiserver/http.hpp"
#include "apiserver/upgrade.hpp"
#include "apiserver/wire.hpp"
#include "base/encoding.hpp"
#include "base/log.hpp"
#include "sys/files.hpp"

namespace skiff::apiserver {

using nlohmann::json;

namespace {

constexpr size_t kMaxResize = 4096;
constexpr Duration kStreamsTimeout = 30s;  // for the client to open its streams, as Kubernetes allows
constexpr Duration kFarewell = 5s;

/// One exec or attach, on its own thread.
class RemoteSession {
 public:
  RemoteSession(Wire& wire, RemoteProtocol& protocol) : wire_(wire), protocol_(protocol) {}

  bool wait_for_streams();
  /// Moves bytes until the outputs have ended. False when the client went away or the server stops.
  bool pump(RemoteProcess& process);
  void say_goodbye(std::string_view status);

 private:
  bool round(std::vector<pollfd>& others, bool reading, std::optional<Duration> timeout = std::nullopt);
  void take(RemoteEvent event);
  void feed_input(RemoteProcess& process);
  void forward(UniqueFd& source, Channel channel);
  void apply_resize(RemoteProcess& process);

  Wire& wire_;
  RemoteProtocol& protocol_;
  std::string input_;  // waits for the process
  bool input_closed_ = false;
  std::string resize_;
};

bool RemoteSession::round(std::vector<pollfd>& others, bool reading, std::optional<Duration> timeout) {
  Wire::Round round = wire_.wait(others, protocol_.output(), reading, timeout);
  std::vector<RemoteEvent> events;
  bool alive = protocol_.receive(round.received, events).ok();
  for (RemoteEvent& event : events) take(std::move(event));
  return alive && !round.closed && !round.stopped && !protocol_.peer_gone();
}

void RemoteSession::take(RemoteEvent event) {
  bool closed = event.kind == RemoteEvent::Kind::Closed;
  if (event.channel == Channel::Input) {
    input_.append(event.data);
    input_closed_ = input_closed_ || closed;
  } else if (event.channel == Channel::Resize) {
    protocol_.consumed(Channel::Resize, event.data.size());
    resize_.append(event.data);
    if (resize_.size() > kMaxResize) resize_.clear();
  }
}

bool RemoteSession::wait_for_streams() {
  TimePoint deadline = std::chrono::steady_clock::now() + kStreamsTimeout;
  std::vector<pollfd> none;
  while (!protocol_.ready()) {
    Duration left = deadline - std::chrono::steady_clock::now();
    if (left <= Duration::zero() || !round(none, true, left)) return false;
  }
  return true;
}

void RemoteSession::feed_input(RemoteProcess& process) {
  while (process.input && !input_.empty()) {
    ssize_t put =
        sys::retry_eintr([&] { return ::write(process.input.get(), input_.data(), input_.size()); });
    if (put < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (put < 0) process.input.reset();  // the process reads no more
    if (put > 0) {
      input_.erase(0, static_cast<size_t>(put));
      protocol_.consumed(Channel::Input, static_cast<size_t>(put));
    }
  }
  if (!process.input) input_.clear();
  if (input_closed_) process.input.reset();
}

void RemoteSession::forward(UniqueFd& source, Channel channel) {
  std::array<char, 32U << 10> buffer;
  ssize_t got = sys::retry_eintr([&] { return ::read(source.get(), buffer.data(), buffer.size()); });
  if (got > 0) return protocol_.send(channel, {buffer.data(), static_cast<size_t>(got)});
  // 0 is the end of a pipe, EIO that of a terminal.
  if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) source.reset();
}

void RemoteSession::apply_resize(RemoteProcess& process) {
  std::optional<TerminalSize> size = parse_resize(resize_);
  if (size && process.resize) process.resize(*size);
}

bool RemoteSession::pump(RemoteProcess& process) {
  if (process.input)
    ::fcntl(process.input.get(), F_SETFL, ::fcntl(process.input.get(), F_GETFL) | O_NONBLOCK);
  while (process.output || process.error) {
    feed_input(process);
    apply_resize(process);
    bool room = protocol_.output().size() + protocol_.waiting() < kSessionBuffer;
    std::vector<pollfd> others{
        {process.output && room ? process.output.get() : -1, POLLIN, 0},
        {process.error && room ? process.error.get() : -1, POLLIN, 0},
        {process.input && !input_.empty() ? process.input.get() : -1, POLLOUT, 0},
    };
    if (!round(others, input_.size() < kSessionBuffer)) return false;
    if (others[0].revents != 0) forward(process.output, Channel::Output);
    if (others[1].revents != 0) forward(process.error, Channel::Error);
  }
  process.input.reset();
  return true;
}

void RemoteSession::say_goodbye(std::string_view status) {
  if (!status.empty()) protocol_.send(Channel::Status, status);
  std::vector<pollfd> none;
  TimePoint deadline = std::chrono::steady_clock::now() + kFarewell;
  protocol_.end();
  // What the peer's window does not admit yet must leave before the connection is closed.
  while (protocol_.waiting() > 0) {
    Duration left = deadline - std::chrono::steady_clock::now();
    if (left <= Duration::zero() || !round(none, true, left)) return;
  }
  wire_.finish(protocol_.output(), kFarewell);
}

void run_remote_command(Wire& wire, RemoteProtocol& protocol, const std::string& command,
                        const StartProcess& start, std::stop_token stop) {
  RemoteSession session(wire, protocol);
  if (!session.wait_for_streams()) return;
  Result<RemoteProcess> process = start(stop);
  Result<int> code = 0;
  if (!process.ok()) {
    code = process.error();
  } else {
    if (!session.pump(process.value())) return;
    if (process.value().wait) code = process.value().wait(stop);
  }
  session.say_goodbye(exit_status(code, command, protocol.status_documents()));
}

}  // namespace

std::string exit_status(const Result<int>& code, std::string_view command, bool as_document) {
  json status = {{"metadata", json::object()}, {"status", "Success"}};
  std::string text;
  if (!code.ok()) {
    text = fmt::format("error executing command in container: {}", code.error().message());
    status = {{"metadata", json::object()},
              {"status", "Failure"},
              {"message", "Internal error occurred: " + text},
              {"reason", "InternalError"},
              {"details", {{"causes", json::array({{{"message", text}}})}}},
              {"code", 500}};
  } else if (code.value() != 0) {
    text = fmt::format("command terminated with non-zero exit code: error executing command {}, exit code {}",
                       command, code.value());
    json cause = {{"reason", "ExitCode"}, {"message", std::to_string(code.value())}};
    status = {{"metadata", json::object()},
              {"status", "Failure"},
              {"message", text},
              {"reason", "NonZeroExitCode"},
              {"details", {{"causes", json::array({cause})}}}};
  }
  return as_document ? status.dump(-1, ' ', false, json::error_handler_t::replace) : text;
}

std::optional<TerminalSize> parse_resize(std::string& text) {
  std::optional<TerminalSize> size;
  size_t end = 0;
  while ((end = text.find('}')) != text.npos) {
    json document = json::parse(text.substr(0, end + 1), nullptr, false);
    text.erase(0, end + 1);
    if (!document.is_object()) continue;
    auto field = [&document](const char* name) -> std::uint16_t {
      auto found = document.find(name);
      if (found == document.end() || !found->is_number_unsigned()) return 0;
      return static_cast<std::uint16_t>(std::min<std::uint64_t>(found->get<std::uint64_t>(), 65535));
    };
    size = TerminalSize{field("Width"), field("Height")};
  }
  return size;
}

Response remote_command(const Request& request, RemoteOptions options, std::string command,
                        StartProcess start) {
  Result<UpgradeChoice> choice = choose_upgrade(request, kRemoteWebSocketProtocols, kRemoteSpdyProtocols);
  if (!choice.ok()) return upgrade_refusal(choice.error());
  // A terminal has one output: asking for stderr as well is an error in kubectl and ignored here.
  if (options.terminal) options.error = false;
  UpgradeReply reply;
  reply.headers = choice.value().headers;
  reply.run = [choice = choice.value(), options, command = std::move(command), start = std::move(start)](
                  Connection& connection, std::string early, std::stop_token stop) {
    Result<std::unique_ptr<Wire>> wire = Wire::create(connection, std::move(early), stop);
    if (!wire.ok()) return log::warning("apiserver", "exec: {}", wire.error().message());
    std::unique_ptr<RemoteProtocol> protocol = choice.websocket
                                                   ? make_websocket_protocol(choice.protocol, options)
                                                   : make_spdy_protocol(choice.protocol, options);
    run_remote_command(*wire.value(), *protocol, command, start, stop);
  };
  return reply;
}

}  // namespace skiff::apiserver
