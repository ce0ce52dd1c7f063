// The two dialects of remote command: channels in WebSocket messages, and SPDY streams.

#include <algorithm>
#include <map>

#include "apiserver/remote.hpp"
#include "apiserver/spdy.hpp"
#include "apiserver/websocket.hpp"
#include "base/encoding.hpp"

namespace skiff::apiserver {

namespace {

constexpr size_t kMaxMessage = 1U << 20;
constexpr std::uint8_t kCloseSignal = 255;  // v5: "channel <second byte> has ended"
constexpr std::uint8_t kLastChannel = static_cast<std::uint8_t>(Channel::Resize);

class WebSocketProtocol final : public RemoteProtocol {
 public:
  WebSocketProtocol(std::string_view protocol, RemoteOptions options)
      : codec_(kMaxMessage),
        base64_(protocol.find("base64") != protocol.npos),
        close_signal_(protocol.starts_with("v5.")),
        documents_(protocol.starts_with("v5.") || protocol.starts_with("v4.")) {
    // Kubernetes tells the client that the connection stands with an empty message on the lowest readable
    // channel.
    send(options.output ? Channel::Output : options.error ? Channel::Error : Channel::Status, {});
  }

  Status receive(std::string_view bytes, std::vector<RemoteEvent>& events) override {
    std::vector<WebSocketMessage> messages;
    Status status = codec_.receive(bytes, messages);
    for (WebSocketMessage& message : messages) take(std::move(message), events);
    return status;
  }
  bool ready() const override { return true; }
  void send(Channel channel, std::string_view data) override {
    auto number = static_cast<char>(channel);
    if (base64_) {
      codec_.send(WebSocketOpcode::Text,
                  std::string(1, static_cast<char>('0' + number)) + base64_encode(data));
    } else {
      codec_.send(WebSocketOpcode::Binary, std::string(1, number).append(data));
    }
  }
  void consumed(Channel, size_t) override {}
  void end() override { codec_.close(1000, ""); }
  bool peer_gone() const override { return codec_.peer_closed(); }
  size_t waiting() const override { return 0; }
  std::string& output() override { return codec_.output(); }
  bool status_documents() const override { return documents_; }

 private:
  void take(WebSocketMessage message, std::vector<RemoteEvent>& events) {
    if (message.payload.empty()) return;
    auto number = static_cast<std::uint8_t>(message.payload.front());
    std::string data = message.payload.substr(1);
    if (base64_) {
      number = static_cast<std::uint8_t>(number - '0');
      std::optional<std::string> decoded = base64_decode(data);
      if (!decoded) return;
      data = std::move(*decoded);
    } else if (close_signal_ && number == kCloseSignal) {
      if (!data.empty() && static_cast<std::uint8_t>(data[0]) <= kLastChannel)
        events.push_back({RemoteEvent::Kind::Closed, static_cast<Channel>(data[0]), {}});
      return;
    }
    if (number <= kLastChannel && !data.empty())
      events.push_back({RemoteEvent::Kind::Data, static_cast<Channel>(number), std::move(data)});
  }

  WebSocketCodec codec_;
  bool base64_;
  bool close_signal_;
  bool documents_;
};

std::optional<Channel> channel_named(std::string_view name) {
  static constexpr std::pair<std::string_view, Channel> kNames[] = {{"stdin", Channel::Input},
                                                                    {"stdout", Channel::Output},
                                                                    {"stderr", Channel::Error},
                                                                    {"error", Channel::Status},
                                                                    {"resize", Channel::Resize}};
  for (const auto& [known, channel] : kNames)
    if (known == name) return channel;
  return std::nullopt;
}

class SpdyProtocol final : public RemoteProtocol {
 public:
  SpdyProtocol(std::string_view protocol, RemoteOptions options)
      : documents_(protocol == "v4.channel.k8s.io") {
    // The client opens one stream for each of these; only then may the process start.
    bool resizes = options.terminal && (documents_ || protocol == "v3.channel.k8s.io");
    missing_ = 1 + options.input + options.output + options.error + resizes;
  }

  Status receive(std::string_view bytes, std::vector<RemoteEvent>& events) override {
    std::vector<SpdyEvent> happened;
    Status status = spdy_.receive(bytes, happened);
    for (SpdyEvent& event : happened) take(event, events);
    return status;
  }
  bool ready() const override { return missing_ <= 0; }
  void send(Channel channel, std::string_view data) override {
    if (auto found = streams_.find(channel); found != streams_.end()) spdy_.send(found->second, data);
  }
  void consumed(Channel channel, size_t bytes) override {
    if (auto found = streams_.find(channel); found != streams_.end()) spdy_.consumed(found->second, bytes);
  }
  void end() override {
    for (const auto& [channel, stream] : streams_) spdy_.finish(stream);
  }
  bool peer_gone() const override { return spdy_.peer_gone(); }
  size_t waiting() const override { return spdy_.waiting(); }
  std::string& output() override { return spdy_.output(); }
  bool status_documents() const override { return documents_; }

 private:
  void take(SpdyEvent& event, std::vector<RemoteEvent>& events) {
    if (event.kind == SpdyEvent::Kind::Opened) return open(event);
    for (const auto& [channel, stream] : streams_) {
      if (stream != event.stream) continue;
      bool data = event.kind == SpdyEvent::Kind::Data;
      events.push_back(
          {data ? RemoteEvent::Kind::Data : RemoteEvent::Kind::Closed, channel, std::move(event.data)});
      return;
    }
  }
  void open(const SpdyEvent& event) {
    auto type = event.headers.find("streamtype");
    std::optional<Channel> channel = type == event.headers.end() ? std::nullopt : channel_named(type->second);
    if (!channel || !streams_.emplace(*channel, event.stream).second) return spdy_.reset(event.stream);
    spdy_.reply(event.stream);
    --missing_;
  }

  SpdySession spdy_;
  bool documents_;
  int missing_ = 0;
  std::map<Channel, SpdyStreamId> streams_;
};

}  // namespace

std::unique_ptr<RemoteProtocol> make_websocket_protocol(std::string_view protocol, RemoteOptions options) {
  return std::make_unique<WebSocketProtocol>(protocol, options);
}

std::unique_ptr<RemoteProtocol> make_spdy_protocol(std::string_view protocol, RemoteOptions options) {
  return std::make_unique<SpdyProtocol>(protocol, options);
}

}  // namespace skiff::apiserver
