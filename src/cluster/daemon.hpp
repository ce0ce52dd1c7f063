#pragma once
// The process behind a cluster, as the command line starts, finds and ends it.

#include <functional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "skiff/config.hpp"

namespace skiff::cluster {

/// Starts this program again with `arguments` plus "--progress-fd=N" in a session of its own, its output going to the
/// cluster's log. Hands each step it reports to `on_step`; returns when it says that it is ready, or its error.
Status launch_daemon(const ClusterConfig& config, std::vector<std::string> arguments,
                     const std::function<void(const std::string&)>& on_step);

/// The other end: writes steps, then "ready" or the error.
class ProgressPipe {
 public:
  explicit ProgressPipe(int fd) : fd_(fd) {}
  void step(const std::string& text) { write("step " + text); }
  void ready() { write("ready"); }
  void failed(const Error& error);

 private:
  void write(const std::string& line);
  int fd_;  // -1: nobody listens
};

/// Asks the cluster's process to end and waits. NotFound: none runs. Timeout: it does not end within `patience`.
Status stop_daemon(const ClusterConfig& config, Duration patience);

/// Blocks until SIGTERM or SIGINT; call block_signals() before any thread starts.
void block_signals();
void wait_for_signal();

}  // namespace skiff::cluster
