#pragma once
// A container in neutral words: whoever starts one (the kubelet) translates into this, skiff-init carries it
// out.

#include <sys/resource.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/capabilities.hpp"

namespace skiff::runtime {

/// Kept by skiff-init with the sandbox or container and given back by Node::list(): what must be known again
/// after a restart of skiff (pod UID, container name, attempt, ...).
using Labels = std::map<std::string, std::string>;

enum class Propagation : std::uint8_t { Private, HostToContainer, Bidirectional };

struct Mount {
  std::string source;                   // a path in the node; unused for other types than bind
  std::optional<std::string> sub_path;  // below source; links cannot lead out of source
  std::string target;                   // in the container; made when missing
  bool read_only = false;
  bool recursive_read_only = false;
  Propagation propagation = Propagation::Private;
  std::string type = "bind";  // or "tmpfs", ...
  std::string options;        // for other types than bind
};

/// A device of the node in the container. Whoever adds one also lets the container's group use it.
struct Device {
  std::string target;
  bool block = false;
  unsigned major = 0, minor = 0;
  bool read_only = false;
};

struct ResourceLimit {
  int resource = RLIMIT_NOFILE;
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
};

struct Capabilities {
  CapabilitySet bounding, effective, permitted, inheritable, ambient;
};

struct ProcessSpec {
  std::vector<std::string> arguments;    // looked up in the container's PATH when it has no slash
  std::vector<std::string> environment;  // "NAME=value"; PATH, HOME and TERM are added when missing
  std::string working_directory = "/";   // made when missing
  std::string user;                      // "", "name" or "uid", each with an optional ":group"
  std::optional<gid_t> group;            // overrides the user's
  std::vector<gid_t> supplementary_groups;
  bool strict_groups = false;            // only those, none from the image's /etc/group
  Capabilities capabilities = default_capabilities();
  bool no_new_privileges = false;
  std::string seccomp;  // a BPF program; "" for none. See seccomp.hpp
  std::optional<int> oom_score_adj;
  std::vector<ResourceLimit> limits;

 private:
  static Capabilities default_capabilities() {
    return {kDefaultCapabilities, kDefaultCapabilities, kDefaultCapabilities, {}, {}};
  }
};

struct ContainerSpec {
  std::string id;
  std::string sandbox;
  Labels labels;
  std::string directory;            // the container's own, made and removed by the node: root, upper, work
  std::vector<std::string> layers;  // unpacked image layers, the topmost first
  bool read_only_root = false;
  bool privileged = false;  // every device of the host, /sys writable; nothing else is implied
  bool host_pids = false;   // the node's PID namespace
  std::string pids_of;      // or that of another, running container; "" for none
  bool tty = false;
  bool wants_stdin = false;
  std::vector<Mount> mounts;  // carried out in this order
  std::vector<Device> devices;
  std::vector<std::string> masked_paths;
  std::vector<std::string> read_only_paths;
  std::string cgroup;    // must exist; "" for none
  std::string log_path;  // "" for none; its directory must exist
  std::uint64_t log_max_bytes = 10U << 20;
  int log_max_files = 5;
  ProcessSpec process;
};

struct SandboxSpec {
  std::string id;
  Labels labels;
  std::string hostname;
  std::vector<std::string> sysctls;  // "net.ipv4.ip_forward=1"
  bool host_network = false;         // the node's network and host name
  bool host_ipc = false;
  bool shared_pids = false;   // containers see each other's processes
  std::string shared_memory;  // where its /dev/shm is mounted, made and removed by the node; "" for none
  std::uint64_t shared_memory_bytes = 64U << 20;
  /// A user namespace of its own: the pod's ids 0..65535 are the host's from this one on. Its containers' file systems show
  /// the ids as they are on disk, by mounts with mapped ids; a file system that cannot do that fails the container's start.
  std::optional<uid_t> first_id;
};
inline constexpr uid_t kIdsOfPod = 65536;


/// What a container that is not privileged may do with devices, as rules of cgroup v1. Where the kernel cannot be held to
/// them (CgroupTree::guards_devices), leave out CAP_MKNOD.
const std::vector<std::string>& default_devices();
/// The paths every OCI runtime hides and write-protects by default.
const std::vector<std::string>& default_masked_paths();
const std::vector<std::string>& default_read_only_paths();

}  // namespace skiff::runtime
