#pragma once
// Remote command and port-forward: what kubectl exec, attach and port-forward speak once the connection has
// left HTTP, bridged to plain descriptors.

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "apiserver/message.hpp"
#include "base/error.hpp"
#include "base/fd.hpp"

namespace skiff::apiserver {

// ---- what the node side provides
// ---------------------------------------------------------------------------------

struct TerminalSize {
  std::uint16_t columns = 0;
  std::uint16_t rows = 0;
};

/// The streams a client asked for.
struct RemoteOptions {
  bool input = false;
  bool output = false;
  bool error = false;
  bool terminal = false;
};

/// A started process, or one attached to. Descriptors that were not asked for are empty.
struct RemoteProcess {
  UniqueFd input;   // for writing; is made non-blocking; closed when the client closes its stdin
  UniqueFd output;  // for reading; with a terminal both are its master side
  UniqueFd error;
  std::function<void(TerminalSize)> resize;
  /// Called once the outputs have ended; the exit code. Waits, but not beyond `stop`.
  std::function<Result<int>(std::stop_token)> wait;
};

/// Called on the session's thread when the client's streams stand.
using StartProcess = std::function<Result<RemoteProcess>(std::stop_token)>;

/// Opens a connection to a port of the pod.
using DialPort = std::function<Result<UniqueFd>(std::uint16_t port)>;

// ---- what the API server answers
// ---------------------------------------------------------------------------------

/// The answer to an exec or attach request: an upgrade to WebSocket (v5, v4 and plain channel.k8s.io and
/// their base64 forms) or SPDY/3.1 (v4 to v1), or a 400 that says what is missing. `command` is for the text
/// of a failure.
Response remote_command(const Request& request, RemoteOptions options, std::string command,
                        StartProcess start);

/// The answer to a port-forward request: SPDY/3.1, plain or inside WebSocket messages. `pod` is for the text
/// of a failure.
Response port_forward(const Request& request, std::string pod, DialPort dial);

// ---- the protocols, for the sessions and their tests
// -------------------------------------------------------------

enum class Channel : std::uint8_t { Input = 0, Output = 1, Error = 2, Status = 3, Resize = 4 };

struct RemoteEvent {
  enum class Kind { Data, Closed } kind = Kind::Data;
  Channel channel = Channel::Input;
  std::string data;
};

/// One dialect of remote command. Pure: bytes in, events and bytes out.
class RemoteProtocol {
 public:
  virtual ~RemoteProtocol() = default;
  /// An error means the session is over; its farewell is in the output.
  virtual Status receive(std::string_view bytes, std::vector<RemoteEvent>& events) = 0;
  /// All streams that the options ask for exist.
  virtual bool ready() const = 0;
  virtual void send(Channel channel, std::string_view data) = 0;
  /// Received bytes that have been passed on.
  virtual void consumed(Channel channel, size_t bytes) = 0;
  /// Ends all channels.
  virtual void end() = 0;
  virtual bool peer_gone() const = 0;
  /// Bytes accepted by send() that the peer does not yet admit.
  virtual size_t waiting() const = 0;
  virtual std::string& output() = 0;
  /// Whether the end is told as a Status document (v4 and later) or as plain text.
  virtual bool status_documents() const = 0;
};

/// `protocol` as agreed ("" for a client that named none).
std::unique_ptr<RemoteProtocol> make_websocket_protocol(std::string_view protocol, RemoteOptions options);
std::unique_ptr<RemoteProtocol> make_spdy_protocol(std::string_view protocol, RemoteOptions options);

/// What the status channel says: a Status document, or its text ("" for success) for the old protocols.
std::string exit_status(const Result<int>& code, std::string_view command, bool as_document);

/// The last resize in `json` (one or more {"Width":..,"Height":..} documents); consumes whole documents.
std::optional<TerminalSize> parse_resize(std::string& json);

}  // namespace skiff::apiserver
