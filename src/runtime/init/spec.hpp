#pragma once
// A container as skiff asked for it. All texts point into `fields`, which the spec owns.

#include <stdint.h>

#include "memory.hpp"
#include "wire.hpp"

namespace skiff::init {

struct MountSpec {
  const char* source = "";
  const char* sub_path = nullptr;  // below source, resolved so that links cannot leave it
  const char* target = "";
  const char* type = "bind";
  const char* options = "";
  bool read_only = false;
  bool recursive_read_only = false;
  wire::Propagation propagation = wire::Propagation::Private;
};

/// A device of the node that the container sees at `target`.
struct DeviceSpec {
  const char* target = "";
  bool block = false;
  unsigned major = 0, minor = 0;
};

struct LimitSpec {
  int resource = 0;
  uint64_t soft = 0;
  uint64_t hard = 0;
};

struct Capabilities {
  uint64_t bounding = 0, effective = 0, permitted = 0, inheritable = 0, ambient = 0;
};

struct ProcessSpec {
  Array<const char*> arguments;
  Array<const char*> environment;
  const char* directory = "/";
  const char* user = "";  // "", "name", "uid", either with ":group"
  int64_t gid = -1;       // overrides the user's group
  Array<uint32_t> groups;
  bool strict_groups = false;  // only those, none from /etc/group
  Capabilities capabilities;
  bool no_new_privileges = false;
  const char* seccomp = nullptr;  // struct sock_filter[], unaligned
  size_t seccomp_size = 0;
  bool has_oom_score = false;
  int64_t oom_score = 0;
  Array<LimitSpec> limits;
};

struct ContainerSpec {
  Buffer fields;
  const char* id = "";
  const char* sandbox = "";
  const char* root = "";  // the directory the root file system is mounted at
  Array<const char*> lower;
  const char* upper = nullptr;
  const char* work = nullptr;
  bool read_only_root = false;
  bool privileged = false;
  bool sys_read_write = false;
  bool host_pids = false;
  const char* pids_of = "";  // another container, whose PID namespace this one joins
  bool tty = false;
  bool wants_stdin = false;
  Array<MountSpec> mounts;
  Array<DeviceSpec> devices;
  Array<const char*> masked_paths;
  Array<const char*> read_only_paths;
  Array<const char*> cgroup_directories;
  Array<const char*> cgroup_mounts;
  const char* log_path = "";
  uint64_t log_max_bytes = 10U << 20;
  uint64_t log_max_files = 5;
  ProcessSpec process;
};

/// Takes the fields of a RunContainer request over.
void parse_container(ContainerSpec& spec, Buffer fields);

/// What an Exec request adds to the container's process.
struct ExecSpec {
  Buffer fields;
  const char* id = "";
  Array<const char*> arguments;
  bool tty = false;
  bool wants_stdin = false;
};
void parse_exec(ExecSpec& spec, Buffer fields);

}  // namespace skiff::init
