#pragma once
// A child on its way from clone to exec, as the parent sees it: it listens on the status socket and tells its
// owner once how it went.

#include <sys/types.h>

#include "events.hpp"
#include "memory.hpp"
#include "server.hpp"

namespace skiff::init {

struct Launch {
  Request request;
  Fd status;
  Source source;
  Events* watched_by = nullptr;  // set once `status` is watched
  void* owner = nullptr;
  void (*done)(void* owner, Launch& launch) = nullptr;

  Array<char*> warnings;
  char* identity = nullptr;  // "uid gid group..."
  Fd terminal;         // master side
  bool ready = false;  // it reached exec
  bool failed = false;
  int error_number = 0;
  char error[1104] = "";

  ~Launch() {
    if (watched_by != nullptr) watched_by->forget(status.get());
    for (char* text : warnings) free(text);
    free(identity);
  }
  bool succeeded() const { return ready && !failed; }
  /// Reads what the child has said so far. True when there is nothing more to come.
  bool read_status();
};

/// The child and parent ends of stdin, stdout and stderr.
struct Stdio {
  Fd child[3];
  Fd parent[3];
};
/// False with errno. Without `wants_stdin` stdin is /dev/null.
bool make_stdio(Stdio& stdio, bool wants_stdin);

}  // namespace skiff::init
