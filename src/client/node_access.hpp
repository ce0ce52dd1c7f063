#pragma once
// What the API server asks of a kubelet. The kubelet implements it, `cluster` connects the two; for a node on
// another machine an implementation over HTTP will stand here.

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "client/node_stats.hpp"

namespace skiff::client {

/// v1.PodLogOptions.
struct LogOptions {
  std::string container;                       // empty: the only one (or kubectl.kubernetes.io/default-container)
  bool follow = false;
  bool previous = false;
  bool timestamps = false;
  std::optional<std::int64_t> since_seconds;
  std::string since_time;                      // RFC 3339
  std::optional<std::int64_t> tail_lines;
  std::optional<std::int64_t> limit_bytes;
  std::string stream;                          // "", "Stdout", "Stderr"
};

struct ExecOptions {
  std::string container;
  std::vector<std::string> command;            // unused by attach
  bool in = false, out = false, err = false, tty = false;
};

/// How a process ended; a signal shows as 128 + its number, as a shell says it.
struct ExitStatus {
  int code = 0;
};

/// A running exec or attach. Descriptors that were not asked for are empty; with a tty, `in` and `out` are one
/// terminal and `err` is empty. Closing `in` is end of input. Destroying the session ends the process of an exec.
class ExecSession {
 public:
  virtual ~ExecSession() = default;
  UniqueFd in, out, err;
  virtual Status resize(std::uint16_t columns, std::uint16_t rows) = 0;
  /// Blocks until the process has ended (attach: until the container has).
  virtual Result<ExitStatus> wait(std::stop_token stop) = 0;
};

/// Any thread. NotFound and BadRequest carry the kubelet's words ("container x is not valid for pod y", ...).
class NodeAccess {
 public:
  virtual ~NodeAccess() = default;

  /// Hands over log lines in pieces until the end (or, with follow, until the container is gone or `stop`); `write`
  /// returns false when the reader has left.
  virtual Status logs(const ObjectKey& pod, const LogOptions& options,
                      const std::function<bool(std::string_view)>& write, std::stop_token stop) = 0;
  virtual Result<std::unique_ptr<ExecSession>> exec(const ObjectKey& pod, const ExecOptions& options) = 0;
  virtual Result<std::unique_ptr<ExecSession>> attach(const ObjectKey& pod, const ExecOptions& options) = 0;
  /// A TCP connection to `port` on the pod's own loopback.
  virtual Result<UniqueFd> dial_pod(const ObjectKey& pod, std::uint16_t port) = 0;
  /// What the node and its pods use now. The first question after a pause may take a moment: CPU is measured over time.
  virtual Result<NodeUsage> usage(const UsageQuery&) { return error(Code::Unavailable, "the node does not measure"); }
  /// A TCP connection opened inside the node's network namespace (service and pod proxying).
  virtual Result<UniqueFd> dial(const std::string& address, std::uint16_t port) = 0;
};

/// Finds the kubelet of a node by name; null when it is not running.
using NodeAccessByName = std::function<std::shared_ptr<NodeAccess>(const std::string& node)>;

}  // namespace skiff::client
