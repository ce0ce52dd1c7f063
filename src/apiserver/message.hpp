#pragma once
// What passes between the transport (listener, streamer, sessions) and the API behind it: plain requests and
// three kinds of answer. No httplib, no sockets.

#include <strings.h>

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.hpp"

namespace skiff::apiserver {

class Connection;

/// Immutable bytes that many answers may share (a stored object, a watch event).
using Chunk = std::shared_ptr<const std::string>;

struct HeaderLess {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const {
    int order = ::strncasecmp(a.data(), b.data(), std::min(a.size(), b.size()));
    return order != 0 ? order < 0 : a.size() < b.size();
  }
};
using Headers = std::multimap<std::string, std::string, HeaderLess>;
using Query = std::multimap<std::string, std::string, std::less<>>;

/// The subject of a client certificate.
struct PeerIdentity {
  std::string user;
  std::vector<std::string> groups;
  std::string uid = {};          // attribute 1.3.6.1.4.1.57683.2
  std::string fingerprint = {};  // SHA-256, hexadecimal
};

/// What TLS learnt about the other side. At most one of these is set; none without a client certificate.
struct Peer {
  std::optional<PeerIdentity> identity;  // the certificate was signed by our authority and is in force
  std::string front_proxy = {};          // common name of a certificate that the front-proxy authority signed
  std::string rejection;                 // a certificate was shown and is not acceptable: why
};

struct Request {
  std::string method;  // upper case
  std::string path;    // percent-decoded, without the query
  std::string target;  // as sent
  Query query;
  Headers headers;
  std::string body;
  Peer peer;
  std::string remote_address;  // without the port

  /// The first header / query parameter of that name; empty when there is none.
  std::string_view header(std::string_view name) const {
    auto found = headers.find(name);
    return found == headers.end() ? std::string_view{} : std::string_view{found->second};
  }
  std::string_view parameter(std::string_view name) const {
    auto found = query.find(name);
    return found == query.end() ? std::string_view{} : std::string_view{found->second};
  }
};

/// A complete answer.
struct Reply {
  int status = 200;
  std::string content_type = "application/json";
  Headers headers;
  Chunk body;
};

struct StreamReply;

/// The producer's end of a streaming answer. Any thread.
class StreamSink {
 public:
  virtual ~StreamSink() = default;

  /// Queues `pieces`, which stay together, and returns at once. False once the stream is over: the client
  /// went away, was too slow (more than the listener's stream buffer was waiting for it), or close() was
  /// called.
  virtual bool write(std::initializer_list<Chunk> pieces) = 0;
  bool write(Chunk chunk) { return write({std::move(chunk)}); }

  /// The stream's head, when that is known only now: allowed until the first write() of a reply whose head is
  /// `late`. Of `reply`, only status, content type and headers count.
  virtual void begin(const StreamReply& reply) = 0;

  /// Instead of a stream, this: allowed until the first write() of a reply whose head is `late`.
  virtual void answer(const Reply& reply) = 0;

  /// Ends the answer cleanly after everything queued so far. Further writes are dropped.
  virtual void close() = 0;

  /// `callback` runs once, when the stream is over for whatever reason; at once, on this thread, if it
  /// already is, otherwise on the streamer's thread, where it must not block.
  virtual void on_closed(std::function<void()> callback) = 0;

  /// Waits until less than `bytes` are queued. False once the stream is over or `stop` was requested.
  virtual bool wait_below(size_t bytes, std::stop_token stop) = 0;
};

/// A long answer in chunks (watch, followed log): the connection moves to the streamer thread and costs no
/// other.
struct StreamReply {
  int status = 200;
  std::string content_type = "application/json";
  Headers headers;
  /// Called once with the sink, on the worker thread that took the request, or on a thread of its own (owned
  /// and joined by the listener) when `own_thread` is set; only there it may block. `stop` is the server's
  /// shutdown.
  std::function<void(std::shared_ptr<StreamSink>, std::stop_token)> start;
  bool own_thread = false;
  bool late_head = false;         // the head waits for the first bytes, or for answer() in its place
  std::optional<Duration> limit;  // the answer is ended cleanly after this long
  /// Called on the streamer's thread, where it must not block: every `interval` (if set), and right before
  /// `limit` ends the answer.
  std::function<void(StreamSink&)> tick;
  std::optional<Duration> interval;
};

/// The connection leaves HTTP: 101 with `headers` is written, then `run` has it on a thread of its own (owned
/// and joined by the listener) until it returns. `early` is what the client had already sent beyond the
/// request.
struct UpgradeReply {
  Headers headers;
  bool late_head = false;  // `run` writes the head itself
  std::function<void(Connection&, std::string early, std::stop_token)> run;
};

using Response = std::variant<Reply, StreamReply, UpgradeReply>;

/// Answers one request; called from many worker threads at once. Must not block for long and must not throw.
using Handler = std::function<Response(const Request&)>;

}  // namespace skiff::apiserver
