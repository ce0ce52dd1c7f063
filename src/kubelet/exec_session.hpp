#pragma once
// Running execs and attaches as the API server holds them.

#include <functional>
#include <thread>

#include "client/node_access.hpp"
#include "runtime/node.hpp"

namespace skiff::kubelet {

/// An exec: destroying it ends the process.
class CommandSession final : public client::ExecSession {
 public:
  CommandSession(runtime::Node& node, runtime::ExecSession session, const client::ExecOptions& options);
  ~CommandSession() override;
  Status resize(std::uint16_t columns, std::uint16_t rows) override;
  Result<client::ExitStatus> wait(std::stop_token stop) override;

 private:
  runtime::Node& node_;
  const std::uint64_t id_;
  UniqueFd terminal_;
  bool ended_ = false;
};

/// An attach: the container goes on without it.
class AttachSession final : public client::ExecSession {
 public:
  struct Target {
    runtime::Node& node;
    Clock& clock;
    std::string container;
    std::function<bool()> running;
  };
  /// With `stdin_once` the end of this session's input is the end of the container's.
  AttachSession(Target target, runtime::Streams streams, const client::ExecOptions& options, bool stdin_once);
  Status resize(std::uint16_t columns, std::uint16_t rows) override;
  Result<client::ExitStatus> wait(std::stop_token stop) override;

 private:
  void forward_input(UniqueFd from, UniqueFd to, std::stop_token stop);
  Target target_;
  std::jthread input_;  // last
};

}  // namespace skiff::kubelet
