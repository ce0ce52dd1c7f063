#pragma once
// A node for tests, in a directory and cgroup of its own, with a busybox root file system. Everything of it
// is gone with it.

#include <stdlib.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <iostream>
#include <map>

#include "base/mutex.hpp"
#include "runtime/node.hpp"
#include "runtime/seccomp.hpp"
#include "sys/files.hpp"

namespace skiff::runtime {

/// True (with a line that says so) where the machine cannot run containers.
inline bool skip_without_root() {
  if (::geteuid() == 0 && sys::exists("/bin/busybox")) return false;
  std::cout << "skipped: containers need root and /bin/busybox\n";
  return true;
}

class TestNode {
 public:
  explicit TestNode(const std::string& cgroup_root = "/sys/fs/cgroup") {
    char name[] = "/tmp/skiff-node-XXXXXX";
    directory = ::mkdtemp(name);
    spec = {directory + "/node", "node-1", fmt::format("skiff-test-{}/node", ::getpid())};
    cgroups = std::move(sys::CgroupTree::detect(cgroup_root)).value();
    make_layer();
    start();
  }

  ~TestNode() {
    if (node) CHECK(node->power_off().ok());
    CHECK(cgroups->remove(fmt::format("skiff-test-{}", ::getpid()), clock).ok());
    CHECK(sys::remove_tree(directory).ok());
  }

  void start() { node = checked(Node::start(spec, {*cgroups, clock}, handler())); }
  void reconnect() {
    node.reset();
    node = checked(Node::connect(spec, {*cgroups, clock}, handler()));
  }

  /// A sandbox "pod" and a container spec in it that runs `script`.
  ContainerSpec container(const std::string& id, const std::string& script) {
    if (!has_sandbox) {
      REQUIRE(sys::make_directories(directory + "/logs").ok());
      Result<UniqueFd> network = node->create_sandbox(
          {.id = "pod", .labels = {{"uid", "1"}}, .hostname = "web-0", .shared_memory = directory + "/shm"});
      INFO((network.ok() ? "" : network.error().message()));
      REQUIRE(network.ok());
      has_sandbox = true;
    }
    ContainerSpec spec_of;
    spec_of.id = id;
    spec_of.sandbox = "pod";
    spec_of.labels = {{"name", id}};
    spec_of.directory = directory + "/" + id;
    spec_of.layers = {directory + "/layer"};
    spec_of.cgroup = spec.cgroup + "/" + id;
    spec_of.log_path = directory + "/logs/" + id + ".log";
    spec_of.masked_paths = default_masked_paths();
    spec_of.read_only_paths = default_read_only_paths();
    spec_of.process.arguments = {"sh", "-c", script};
    spec_of.process.seccomp = default_seccomp(kDefaultCapabilities).value();
    REQUIRE(cgroups->create(spec_of.cgroup).ok());
    return spec_of;
  }

  void run(const ContainerSpec& spec_of) {
    Result<StartedContainer> started = node->run_container(spec_of);
    INFO((started.ok() ? "" : started.error().message()));
    REQUIRE(started.ok());
  }

  ContainerStatus wait_exit(const std::string& id) {
    MutexLock lock(mutex);
    TimePoint deadline = clock.now() + 20s;
    while (!exits.contains(id) && clock.now() < deadline) clock.wait(mutex, changed, {}, deadline);
    REQUIRE(exits.contains(id));
    return exits[id];
  }

  /// Runs `script` to its end and returns the lines it printed, without time and stream.
  std::string output_of(const ContainerSpec& spec_of) {
    run(spec_of);
    (void)wait_exit(spec_of.id);
    return lines(spec_of.id);
  }

  std::string log(const std::string& id) const {
    return sys::read_file(directory + "/logs/" + id + ".log").value();
  }

  std::string lines(const std::string& id) const {
    std::string all;
    std::string text = log(id);
    for (size_t at = 0; at < text.size();) {
      size_t end = text.find('\n', at);
      std::string line = text.substr(at, end - at);
      size_t content = 0;
      for (int field = 0; field < 3; ++field) content = line.find(' ', content) + 1;
      all += line.substr(content) + "\n";
      at = end + 1;
    }
    return all;
  }

  template <class T>
  static T checked(Result<T> result) {
    INFO((result.ok() ? "" : result.error().message()));
    REQUIRE(result.ok());
    return std::move(result).value();
  }

  SystemClock clock;
  std::unique_ptr<sys::CgroupTree> cgroups;
  std::string directory;
  NodeSpec spec;
  std::unique_ptr<Node> node;

 private:
  Node::ExitHandler handler() {
    return [this](const ContainerStatus& status) {
      MutexLock lock(mutex);
      exits[status.id] = status;
      changed.notify_all();
    };
  }

  void make_layer() const {
    std::string layer = directory + "/layer";
    for (const char* folder : {"/bin", "/etc", "/tmp", "/proc", "/home/web"})
      REQUIRE(sys::make_directories(layer + folder).ok());
    REQUIRE(sys::write_file(layer + "/bin/busybox", sys::read_file("/bin/busybox").value(), 0755).ok());
    for (const char* applet :
         {"sh",   "cat",   "echo",  "ls",   "id",      "sleep", "hostname", "pwd",   "env", "true",
          "kill", "ps",    "mount", "grep", "stty",    "tty",   "readlink", "touch", "ip",  "seq",
          "head", "mkdir", "tr",    "df",   "unshare", "test",  "chroot",   "dd",    "tail"})
      REQUIRE(sys::symlink("busybox", layer + "/bin/" + applet).ok());
    REQUIRE(sys::write_file(layer + "/etc/passwd",
                            "root:x:0:0::/root:/bin/sh\nweb:x:101:102::/home/web:/bin/sh\n")
                .ok());
    REQUIRE(sys::write_file(layer + "/etc/group", "root:x:0:\nweb:x:102:\nextra:x:103:web\n").ok());
    REQUIRE(sys::write_file(layer + "/etc/noexec", "text", 0644).ok());
  }

  Mutex mutex;
  CondVar changed;
  std::map<std::string, ContainerStatus> exits;
  bool has_sandbox = false;
};

}  // namespace skiff::runtime
