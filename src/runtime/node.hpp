#pragma once
// The client side of skiff-init: one node, its sandboxes and containers. The node is a process of its own
// that outlives this object and this program; only power_off() ends it.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/fd.hpp"
#include "runtime/container_spec.hpp"
#include "sys/cgroup.hpp"

namespace skiff::runtime {

class Connection;

struct NodeSpec {
  std::string directory;  // the node's own; holds its socket and log
  std::string hostname;
  std::string cgroup;  // "skiff/<cluster>/<node>": everything of the node is below it
};

/// The ids that a container's first process started with.
struct ProcessIdentity {
  std::int64_t uid = 0, gid = 0;
  std::vector<std::int64_t> groups;
};

enum class ContainerState : std::uint8_t { Starting, Running, Exited };

struct ContainerStatus {
  std::string id;
  std::string sandbox;
  Labels labels;
  std::string log_path;
  std::string cgroup;  // as its spec said
  std::string directory;
  ContainerState state = ContainerState::Starting;
  int exit_code = 0;  // 128 + signal when a signal ended it
  int signal = 0;
  bool oom_killed = false;
  std::optional<ProcessIdentity> identity;
  WallTime started_at{};
  WallTime finished_at{};
};

struct SandboxStatus {
  std::string id;
  Labels labels;
};

struct NodeContents {
  std::vector<SandboxStatus> sandboxes;
  std::vector<ContainerStatus> containers;
};

struct StartedContainer {
  WallTime started_at{};
  std::optional<ProcessIdentity> identity;
  std::vector<std::string> warnings;  // what the kernel refused and the container has to do without
};

struct ExecSpec {
  std::string container;
  std::vector<std::string> arguments;
  bool tty = false;
  bool wants_stdin = false;
};

/// The ends of an exec'd process's or an attached container's streams. With a terminal only `terminal` is
/// set; its window size is set by ioctl TIOCSWINSZ on it.
struct Streams {
  UniqueFd input;  // write here; unset without stdin
  UniqueFd output;
  UniqueFd error;
  UniqueFd terminal;
};

struct ExecSession {
  std::uint64_t id = 0;
  Streams streams;
};

/// A file system of the node itself. Type overlay shows `layers` (the topmost first), read-only.
struct NodeMount {
  std::string target;
  std::string type = "tmpfs";
  std::string options;  // "size=64k,mode=0755"
  std::string source = "none";
  std::vector<std::string> layers;
  bool read_only = false;
};

/// What a Node needs and does not own.
struct NodeSystem {
  sys::CgroupTree& cgroups;
  Clock& clock;
};

class Node {
 public:
  /// Called on the reader thread, once per container that ends while connected; it must not call the Node.
  using ExitHandler = std::function<void(const ContainerStatus&)>;

  /// Starts a new skiff-init in `spec.directory`; what an earlier one left in its cgroup is killed first.
  static Result<std::unique_ptr<Node>> start(const NodeSpec& spec, NodeSystem system, ExitHandler on_exit);
  /// Connects to the one that runs there. NotFound: none does. Exits that happened meanwhile show in list().
  static Result<std::unique_ptr<Node>> connect(const NodeSpec& spec, NodeSystem system, ExitHandler on_exit);
  /// Disconnects; the node goes on.
  ~Node();

  // All below: any thread. Unavailable: the node is gone. Nothing waits longer than its container takes to
  // exec.

  /// The sandbox's network namespace.
  Result<UniqueFd> create_sandbox(const SandboxSpec& spec);
  Result<UniqueFd> sandbox_network(const std::string& id);
  /// Conflict: containers still run. A missing sandbox is fine.
  Status remove_sandbox(const std::string& id);

  /// Creates and starts. Invalid: the image or spec is to blame (no such program or user, ...); the message
  /// is what `kubectl describe` shows.
  Result<StartedContainer> run_container(const ContainerSpec& spec);
  /// An ended container is fine. NotFound: no such container.
  Status signal_container(const std::string& id, int signal);
  /// Removes an ended container, its `directory` and its cgroup. Conflict: it runs. A missing one is fine.
  Status remove_container(const ContainerStatus& container);
  Result<NodeContents> list();

  Result<ExecSession> exec(const ExecSpec& spec);
  /// Waits for the exit code. Canceled by `stop`, which leaves the process running.
  Result<int> wait_exec(std::uint64_t id, std::stop_token stop);
  Status signal_exec(std::uint64_t id, int signal);

  /// Streams of the running container from now on; input only when it was started with stdin.
  Result<Streams> attach(const std::string& container);
  Status close_stdin(const std::string& container);
  Status resize(const std::string& container, int rows, int columns);
  Status reopen_log(const std::string& container);

  /// A mount in the node's mount namespace; `target` must exist. Reach it by path().
  Status mount(const NodeMount& mount);
  /// Nothing mounted there is fine.
  Status unmount(const std::string& target);
  /// `path` as the node sees it, its own mounts included, for this process to use.
  std::string path(const std::string& path) const;

  const UniqueFd& network() const { return network_; }
  /// A pidfd of its skiff-init: readable once the node is dead.
  const UniqueFd& process() const { return pidfd_; }
  const std::string& cgroup() const { return spec_.cgroup; }
  bool alive() const;

  /// Kills skiff-init, and with it every process and mount of the node, and removes its cgroups.
  Status power_off();

 private:
  Node(NodeSpec spec, NodeSystem system);
  Status greet(UniqueFd socket, ExitHandler on_exit);
  void note_oom(ContainerStatus& container) const;

  NodeSpec spec_;
  NodeSystem system_;
  UniqueFd pidfd_;
  UniqueFd root_;
  UniqueFd network_;
  pid_t pid_ = 0;
  std::unique_ptr<Connection> connection_;  // has the reader thread: last, so it ends first
};

}  // namespace skiff::runtime
