#pragma once
// The thread behind all streaming answers. See README.md for why there is one.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "apiserver/connection.hpp"
#include "apiserver/message.hpp"

namespace skiff::apiserver {

struct StreamOptions {
  std::string head;               // written first, as it is
  bool late_head = false;         // but only with the first chunk
  std::optional<Duration> limit;  // the stream is ended cleanly after this long
  std::function<void(StreamSink&)> tick;
  std::optional<Duration> interval;  // of ticks
};

/// Serves any number of chunked answers from one thread. Any thread may call it.
class Streamer {
 public:
  /// Receives the connection after a stream that ended cleanly, with what the client sent meanwhile; null
  /// when the connection is lost. Called on the streamer's thread; must not block.
  using Ended = std::function<void(std::unique_ptr<Connection>, std::string early)>;

  /// A stream with more than `buffer_bytes` waiting for its client is closed.
  static Result<std::unique_ptr<Streamer>> create(size_t buffer_bytes);
  ~Streamer();

  std::shared_ptr<StreamSink> open(std::unique_ptr<Connection> connection, StreamOptions options,
                                   Ended ended);

  /// Ends all streams cleanly, gives their clients `patience` to read what is queued, and joins the thread.
  void stop(Duration patience);

  /// A timer on the streamer's thread (the listener's time-outs share it).
  void after(Duration delay, std::function<void()> task);

  size_t open_streams() const;

 private:
  class Stream;
  struct Core;
  explicit Streamer(std::shared_ptr<Core> core);
  std::shared_ptr<Core> core_;
};

}  // namespace skiff::apiserver
