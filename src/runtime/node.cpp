#include "runtime/node.hpp"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/log.hpp"
#include "runtime/connection.hpp"
#include "runtime/encode.hpp"
#include "sys/files.hpp"
#include "sys/process.hpp"

extern "C" {
extern const char skiff_init_program[];
extern const char skiff_init_program_end[];
}

namespace skiff::runtime {
namespace {

using wire::Op;
using wire::Tag;

/// Connects by descriptor: a socket's address has room for 108 bytes, a directory's path may be longer.
Result<UniqueFd> connect_in(const std::string& directory) {
  Result<UniqueFd> opened = sys::open(directory, O_PATH | O_DIRECTORY);
  if (!opened.ok()) return error(Code::NotFound, "no node in '{}'", directory);
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return errno_error(errno, "socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string path = fmt::format("/proc/self/fd/{}/{}", opened.value().get(), wire::kSocketName);
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
    return socket;
  if (errno == ENOENT || errno == ECONNREFUSED)
    return error(Code::NotFound, "no node runs in '{}'", directory);
  return errno_error(errno, "connect to the node in '{}'", directory);
}

Result<pid_t> peer_of(const UniqueFd& socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
    return errno_error(errno, "SO_PEERCRED");
  return peer.pid;
}

/// The cgroups are laid out so that the node's own process is in a leaf: v2 wants processes in leaves only.
Status make_cgroups(const std::string& group, sys::CgroupTree& cgroups) {
  TRY(cgroups.create(group));
  for (const std::string& leaf : cgroups.directories(group + "/init")) TRY(sys::make_directory(leaf));
  return ok();
}

std::vector<std::string> arguments_for(const NodeSpec& spec, const sys::CgroupTree& cgroups) {
  std::vector<std::string> arguments = {"skiff-init", "directory=" + spec.directory,
                                        "hostname=" + spec.hostname, "ready=3"};
  for (const std::string& path : cgroups.directories(spec.cgroup)) arguments.push_back("join=" + path);
  for (const std::string& path : cgroups.directories(spec.cgroup + "/init"))
    arguments.push_back("leaf=" + path);
  return arguments;
}

/// skiff-init, one copy for all nodes that this process starts: its megabyte is shared by them, and being sealed it is as
/// constant as the bytes it is made of.
const Result<UniqueFd>& init_program() {
  static const Result<UniqueFd> program =
      sys::sealed_program("skiff-init", {skiff_init_program, skiff_init_program_end});
  return program;
}

/// Starts skiff-init and waits until it listens.
Status launch_init(const NodeSpec& spec, const sys::CgroupTree& cgroups) {
  if (!init_program().ok()) return init_program().error();
  // Above the numbers that the child's own descriptors take.
  UniqueFd program(::fcntl(init_program().value().get(), F_DUPFD_CLOEXEC, 10));
  TRY_ASSIGN(UniqueFd null, sys::open("/dev/null", O_RDONLY));
  TRY_ASSIGN(UniqueFd log, sys::open(spec.directory + "/init.log", O_WRONLY | O_CREAT | O_APPEND, 0600));
  TRY_ASSIGN(sys::Pipe ready, sys::make_pipe());
  TRY_ASSIGN(
      pid_t starter,
      sys::launch({.program = fmt::format("/proc/self/fd/{}", program.get()),
                   .arguments = arguments_for(spec, cgroups),
                   .environment = {},
                   .inherit = {{null.get(), 0}, {log.get(), 1}, {log.get(), 2}, {ready.write.get(), 3}},
                   .new_session = true}));
  ready.write.reset();
  TRY_ASSIGN(int code, sys::reap(starter));
  TRY_ASSIGN(std::string problem,
             sys::read_some(ready.read, 1000, "skiff-init's report"));  // empty once it is up
  if (!problem.empty()) return error(Code::System, "start the node: {}", problem);
  if (code != 0) return error(Code::System, "start the node: skiff-init ended with code {}", code);
  return ok();
}

std::vector<std::string> device_rules(const ContainerSpec& spec) {
  if (spec.privileged) return {"a"};
  std::vector<std::string> rules = default_devices();
  for (const Device& device : spec.devices)
    rules.push_back(fmt::format("{} {}:{} {}", device.block ? 'b' : 'c', device.major, device.minor,
                                device.read_only ? "r" : "rw"));
  return rules;
}

Streams streams_of(Reply& reply, bool tty, bool input) {
  Streams streams;
  auto take = [&, next = size_t{0}]() mutable {
    return next < reply.fds.size() ? std::move(reply.fds[next++]) : UniqueFd();
  };
  if (tty) {
    streams.terminal = take();
    return streams;
  }
  if (input) streams.input = take();
  streams.output = take();
  streams.error = take();
  return streams;
}

}  // namespace

Node::Node(NodeSpec spec, NodeSystem system) : spec_(std::move(spec)), system_(system) {}
Node::~Node() = default;

Result<std::unique_ptr<Node>> Node::start(const NodeSpec& spec, NodeSystem system, ExitHandler on_exit) {
  TRY(sys::make_directories(spec.directory, 0700));
  TRY(system.cgroups.remove(spec.cgroup, system.clock));
  TRY(make_cgroups(spec.cgroup, system.cgroups));
  TRY(launch_init(spec, system.cgroups));
  TRY_ASSIGN(std::unique_ptr<Node> node, connect(spec, system, std::move(on_exit)));
  return node;
}

Result<std::unique_ptr<Node>> Node::connect(const NodeSpec& spec, NodeSystem system, ExitHandler on_exit) {
  TRY_ASSIGN(UniqueFd socket, connect_in(spec.directory));
  std::unique_ptr<Node> node(new Node(spec, system));
  TRY(node->greet(std::move(socket), std::move(on_exit)));
  return node;
}

Status Node::greet(UniqueFd socket, ExitHandler on_exit) {
  TRY_ASSIGN(pid_, peer_of(socket));
  // Before the first answer: a process that answers after this was alive now, so the pid cannot have been
  // reused.
  TRY_ASSIGN(pidfd_, sys::open_pidfd(pid_));
  connection_ = std::make_unique<Connection>(std::move(socket), system_.clock,
                                             [this, on_exit = std::move(on_exit)](const Reply& event) {
                                               ContainerStatus container = decode_container(event.reader());
                                               note_oom(container);
                                               on_exit(container);
                                             });
  TRY_ASSIGN(Reply hello, connection_->call(Op::Hello, {}));
  if (number_in(hello, Tag::Version) != wire::kVersion || hello.fds.size() != 2)
    return error(Code::Conflict,
                 "the node in '{}' was started by another version of skiff: stop the node first",
                 spec_.directory);
  root_ = std::move(hello.fds[0]);
  network_ = std::move(hello.fds[1]);
  return ok();
}

bool Node::alive() const {
  // The reader thread may not have seen yet that the process is gone.
  Result<bool> ended = sys::wait_ended(pidfd_, Duration::zero());
  return connection_->alive() && ended.ok() && !ended.value();
}

Result<UniqueFd> Node::create_sandbox(const SandboxSpec& spec) {
  if (!spec.shared_memory.empty()) TRY(sys::make_directories(spec.shared_memory));
  TRY_ASSIGN(Reply reply, connection_->call(Op::CreateSandbox, encode(spec)));
  if (reply.fds.empty()) return error(Code::Internal, "no network namespace came with sandbox '{}'", spec.id);
  return std::move(reply.fds[0]);
}

Result<UniqueFd> Node::sandbox_network(const std::string& id) {
  TRY_ASSIGN(Reply reply, connection_->call(Op::SandboxNetwork, text_field(Tag::Id, id)));
  if (reply.fds.empty()) return error(Code::Internal, "no network namespace came with sandbox '{}'", id);
  return std::move(reply.fds[0]);
}

Status Node::remove_sandbox(const std::string& id) {
  TRY(connection_->call(Op::RemoveSandbox, text_field(Tag::Id, id)));
  return ok();
}

Result<StartedContainer> Node::run_container(const ContainerSpec& spec) {
  for (const char* name : {"/root", "/upper", "/work"}) TRY(sys::make_directories(spec.directory + name));
  if (!spec.cgroup.empty())
    TRY(system_.cgroups.allow_devices(spec.cgroup, device_rules(spec)));
  Result<Reply> reply = connection_->call(Op::RunContainer, encode(spec, system_.cgroups));
  if (!reply.ok()) {
    if (reply.error().code() == Code::Unavailable) return reply.error();
    return Error(Code::Invalid, reply.error().message(), reply.error().sys_errno());
  }
  StartedContainer started;
  started.started_at = wall_time(number_in(reply.value(), Tag::StartedAt));
  wire::FieldReader reader = reply.value().reader();
  for (wire::Field field; reader.next(field);) {
    if (field.tag == Tag::Warning) started.warnings.emplace_back(field.text());
    if (field.tag == Tag::Identity) started.identity = parse_identity(field.text());
  }
  return started;
}

Status Node::signal_container(const std::string& id, int signal) {
  TRY(connection_->call(Op::SignalContainer, with_number(text_field(Tag::Id, id), Tag::Signal,
                                                         static_cast<std::uint64_t>(signal))));
  return ok();
}

Status Node::remove_container(const ContainerStatus& container) {
  TRY(connection_->call(Op::RemoveContainer, text_field(Tag::Id, container.id)));
  if (!container.cgroup.empty()) TRY(system_.cgroups.remove(container.cgroup, system_.clock));
  if (!container.directory.empty()) TRY(sys::remove_tree(container.directory));
  return ok();
}

void Node::note_oom(ContainerStatus& container) const {
  if (container.state == ContainerState::Exited && !container.cgroup.empty())
    container.oom_killed = system_.cgroups.oom_kills(container.cgroup) > 0;
}

Result<NodeContents> Node::list() {
  TRY_ASSIGN(Reply reply, connection_->call(Op::List, {}));
  NodeContents contents = decode_list(reply);
  for (ContainerStatus& container : contents.containers) note_oom(container);
  return contents;
}

Result<ExecSession> Node::exec(const ExecSpec& spec) {
  std::string fields = text_field(Tag::Id, spec.container);
  for (const std::string& argument : spec.arguments) wire::put_text(fields, Tag::Arg, argument.c_str());
  fields = with_number(std::move(fields), Tag::Tty, spec.tty ? 1 : 0);
  fields = with_number(std::move(fields), Tag::Stdin, spec.wants_stdin ? 1 : 0);
  TRY_ASSIGN(Reply reply, connection_->call(Op::Exec, fields));
  std::uint64_t id = number_in(reply, Tag::ExecId);
  return ExecSession{id, streams_of(reply, spec.tty, spec.wants_stdin)};
}

Result<int> Node::wait_exec(std::uint64_t id, std::stop_token stop) {
  return connection_->wait_exec(id, std::move(stop));
}

Status Node::signal_exec(std::uint64_t id, int signal) {
  std::string fields =
      with_number(with_number({}, Tag::ExecId, id), Tag::Signal, static_cast<std::uint64_t>(signal));
  TRY(connection_->call(Op::SignalExec, fields));
  return ok();
}

Result<Streams> Node::attach(const std::string& container) {
  TRY_ASSIGN(Reply reply, connection_->call(Op::Attach, text_field(Tag::Id, container)));
  // With a terminal the output still comes from a pipe of its own: skiff-init reads the terminal for the log.
  return streams_of(reply, false, number_in(reply, Tag::Stdin) != 0);
}

Status Node::close_stdin(const std::string& container) {
  TRY(connection_->call(Op::CloseStdin, text_field(Tag::Id, container)));
  return ok();
}

Status Node::resize(const std::string& container, int rows, int columns) {
  std::string fields =
      with_number(text_field(Tag::Id, container), Tag::Rows, static_cast<std::uint64_t>(rows));
  TRY(connection_->call(Op::ResizeContainer,
                        with_number(std::move(fields), Tag::Columns, static_cast<std::uint64_t>(columns))));
  return ok();
}

Status Node::reopen_log(const std::string& container) {
  TRY(connection_->call(Op::ReopenLog, text_field(Tag::Id, container)));
  return ok();
}

Status Node::mount(const NodeMount& mount) {
  TRY(connection_->call(Op::Mount, encode(mount)));
  return ok();
}

Status Node::unmount(const std::string& target) {
  TRY(connection_->call(Op::Unmount, text_field(Tag::Target, target)));
  return ok();
}

std::string Node::path(const std::string& path) const {
  return fmt::format("/proc/self/fd/{}{}", root_.get(), path);
}

Status Node::power_off() {
  Status killed = sys::send_signal(pidfd_, SIGKILL);
  if (!killed.ok() && killed.error().code() != Code::NotFound) return killed;
  TRY_ASSIGN(bool ended, sys::wait_ended(pidfd_, 10s));  // the kernel ends every process of the node first
  if (!ended) return error(Code::Timeout, "the node in '{}' does not end", spec_.directory);
  // Ours when we started it or adopt orphans; else whoever did reaps it.
  if (Result<int> reaped = sys::reap(pid_); !reaped.ok() && reaped.error().sys_errno() != ECHILD)
    return std::move(reaped).error();
  TRY(system_.cgroups.remove(spec_.cgroup, system_.clock));
  return sys::remove_file(spec_.directory + "/" + wire::kSocketName);
}

const std::vector<std::string>& default_devices() {
  // Making any node; using null, zero, full, random, urandom, tty, console, ptmx and pts.
  static const std::vector<std::string> rules = {"c *:* m",   "b *:* m",   "c 1:3 rwm", "c 1:5 rwm",
                                                 "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm",
                                                 "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm"};
  return rules;
}

const std::vector<std::string>& default_masked_paths() {
  static const std::vector<std::string> paths = {
      "/proc/acpi",        "/proc/asound",        "/proc/interrupts", "/proc/kcore",
      "/proc/keys",        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
      "/proc/sched_debug", "/proc/scsi",          "/sys/firmware",    "/sys/devices/virtual/powercap"};
  return paths;
}

const std::vector<std::string>& default_read_only_paths() {
  static const std::vector<std::string> paths = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                                 "/proc/sysrq-trigger"};
  return paths;
}

}  // namespace skiff::runtime
