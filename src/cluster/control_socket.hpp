#pragma once
// How the command line asks a cluster's process for what no API object says: nodes to add, stop and freeze. A Unix socket
// in the cluster's directory, which only root can enter. A request is one line of words separated by tabs; the answer is
// lines of text, and at last "done" or "error <message>".

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "cluster/state.hpp"

namespace skiff::cluster {

using Words = std::vector<std::string>;

/// Answers one request at a time on a thread of its own.
class ControlSocket {
 public:
  using Handler = std::function<Result<Words>(const Words& request)>;
  static Result<std::unique_ptr<ControlSocket>> start(const Paths& paths, Handler handler);
  ~ControlSocket() { stop(); }
  void stop();

 private:
  ControlSocket(UniqueFd socket, Handler handler) : socket_(std::move(socket)), handler_(std::move(handler)) {}
  void run(std::stop_token stop);
  void serve(const UniqueFd& connection);

  UniqueFd socket_;
  Handler handler_;
  std::jthread thread_;
};

/// The other end. NotFound: no process runs the cluster.
Result<Words> ask_cluster(const ClusterConfig& config, const Words& request);

}  // namespace skiff::cluster
