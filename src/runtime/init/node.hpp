#pragma once
// The state of the node: its sandboxes, containers and exec sessions, and what requests do to them.

#include <sys/types.h>

#include "launch.hpp"
#include "logs.hpp"
#include "spec.hpp"

namespace skiff::init {

/// A pod's namespaces, held as descriptors. -1 where the pod shares the node's.
struct Sandbox {
  Buffer fields;
  const char* id = "";
  Fd network, ipc, uts, pids;
  Fd user;  // invalid: the node's
  uint32_t first_id = 0;           // its ids begin there
  pid_t pause = 0;                 // first process of a shared PID namespace
  const char* shared_memory = "";  // where its /dev/shm is mounted, "" for none
};

struct Container {
  Container(Events& events) : out(events, log, "stdout"), err(events, log, "stderr") {}
  ContainerSpec spec;
  wire::State state = wire::State::Starting;
  pid_t pid = 0;
  int exit_code = 0;
  int signal = 0;
  char* identity = nullptr;
  uint64_t started_at = 0;  // ns since the epoch
  uint64_t finished_at = 0;
  LogFile log;
  LogStream out, err;
  Fd input;  // stdin's write end
  Fd terminal;
  Launch* launch = nullptr;  // while Starting
  ~Container() {
    delete launch;
    free(identity);
  }
};

struct Exec {
  uint64_t id = 0;
  pid_t pid = 0;
  Container* container = nullptr;
  ExecSpec spec;
  Stdio stdio;               // the parent's ends go to the client
  Launch* launch = nullptr;  // until the program runs
  uint64_t client = 0;
  ~Exec() { delete launch; }
};

/// A mount that a child is waiting for.
struct SlowMount {
  pid_t pid = 0;
  Request request;
  Buffer fields;
};

class Node {
 public:
  Node(Events& events, Fd listening);

 private:
  static void on_request(void* node, const Request& request, wire::Op op, Buffer fields);
  static void on_disconnect(void* node, uint64_t client);
  static void on_child_signal(Source& self, uint32_t events);
  static void on_container_status(Source& self, uint32_t events);
  static void on_exec_status(Source& self, uint32_t events);

  // requests.cpp
  void hello(const Request& request);
  void list(const Request& request);
  void signal_container(const Request& request, const Buffer& fields);
  void remove_container(const Request& request, const Buffer& fields);
  void attach(const Request& request, const Buffer& fields);
  void resize(const Request& request, const Buffer& fields);
  void close_stdin(const Request& request, const Buffer& fields);
  void reopen_log(const Request& request, const Buffer& fields);
  void signal_exec(const Request& request, const Buffer& fields);

  // mounts.cpp
  void mount_in_node(const Request& request, const Buffer& fields);
  void mount_slowly(const Request& request, const Buffer& fields);
  void slow_mount_ended(SlowMount& pending, int status);
  void reply_mounted(const Request& request, const Buffer& fields, int failure);
  void unmount_in_node(const Request& request, const Buffer& fields);

  // sandbox.cpp
  void create_sandbox(const Request& request, Buffer fields);
  void remove_sandbox(const Request& request, const Buffer& fields);
  void sandbox_network(const Request& request, const Buffer& fields);

  // container.cpp
  void run_container(const Request& request, Buffer fields);
  void container_launched(Container& container);
  void container_exited(Container& container, int status);
  void forget_container(Container& container);

  // exec.cpp
  void exec(const Request& request, Buffer fields);
  void exec_launched(Exec& exec);
  void exec_exited(Exec& exec, int status);
  void forget_exec(Exec& exec);

  void reap();
  Sandbox* find_sandbox(const char* id);
  Container* find_container(const char* id);
  void done(const Request& request);
  void reply_no_container(const Request& request, const char* id);
  void reply_launch_error(const Request& request, const Launch& launch);

  /// Clones with the child's PID namespace being `pids` (or the node's, or with CLONE_NEWPID a new one).
  /// On cgroup v2 the child is born in `spec`'s group, which costs nothing; else it joins by itself.
  bool make_namespaces(Sandbox& sandbox, unsigned long flags, const char*& step);
  pid_t clone_into(int pids, unsigned long flags, const Array<const char*>* groups = nullptr);

  Events& events_;
  Server server_;
  Fd child_signals_;
  Source child_source_;
  Fd own_pids_, own_network_, own_ipc_, own_uts_;
  Array<Sandbox*> sandboxes_;
  Array<Container*> containers_;
  Array<Exec*> execs_;
  Array<SlowMount*> slow_mounts_;
  uint64_t next_exec_ = 1;
};

uint64_t now_ns();
/// What a client may know of a container, as fields.
void put_container(const Container& container, Buffer& fields);
/// In the network namespace this process is in. False with errno.
bool set_loopback_up();
/// The text field `tag` of a request, "" when missing.
const char* text_of(const Buffer& fields, wire::Tag tag);
uint64_t number_of(const Buffer& fields, wire::Tag tag);

}  // namespace skiff::init
