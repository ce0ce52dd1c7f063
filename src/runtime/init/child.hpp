#pragma once
// The forked child between clone and exec. It has one way out when something fails: tell the parent and end.
// Messages on the status socket (SOCK_SEQPACKET, close-on-exec): one kind byte, then its content.

#include <stdint.h>

#include "spec.hpp"

namespace skiff::init {

enum class Status : char {
  Failure = 'E',   // int errno, text: the child ends
  Warning = 'W',   // text: it goes on
  Terminal = 'M',  // the terminal's master side as descriptor
  Identity = 'I',  // text: the ids that the program will have
  Ready = 'R',     // next is exec; end of file after this means success
};

/// What a child works with; a plain bundle so that each step can be read by itself.
struct Child {
  int status = -1;  // the socket to the parent
  const ProcessSpec* process = nullptr;
  const char* const* arguments = nullptr;  // NULL-terminated
  bool tty = false;
  int stdio[3] = {-1, -1, -1};  // unused with a terminal
  Array<const char*> const* cgroups = nullptr;
  int user = -1;              // the pod's user namespace; -1: the node's
  uint32_t first_id = 0;      // its root for the node
  bool own_mounts = true;     // the mount namespace is this process' alone
};

[[noreturn]] __attribute__((format(printf, 3, 4))) void fail(const Child& child, int number,
                                                             const char* format, ...);
__attribute__((format(printf, 3, 4))) void warn(const Child& child, int number, const char* format, ...);
void send_terminal(const Child& child, int master);
/// The ids of the program to come: "uid gid group...".
void send_identity(const Child& child, const char* text);

/// Namespaces a container joins; -1 where it keeps what it was cloned with.
struct SandboxFds {
  int network = -1, ipc = -1, uts = -1;
};

/// The whole way from clone to exec of a container's first process.
[[noreturn]] void container_child(Child& child, const ContainerSpec& spec, const SandboxFds& sandbox,
                                  const char* shared_memory);

/// The same for exec: `target` is a pidfd of the container's first process.
[[noreturn]] void exec_child(Child& child, int target);

// The stages, in the order they run. Those of user namespaces: user_namespace.hpp.
void join_cgroups(const Child& child);                                                      // child.cpp
void build_root(const Child& child, const ContainerSpec& spec, const char* shared_memory);  // rootfs.cpp
void open_terminal(const Child& child);                                                     // terminal.cpp
void set_limits(const Child& child);                                                        // identity.cpp
[[noreturn]] void become_user_and_exec(const Child& child);                                 // identity.cpp

}  // namespace skiff::init
