// Pods whose root is nobody on the node (hostUsers: false).

#include <signal.h>
#include <sys/stat.h>

#include "test_node.hpp"

namespace skiff::runtime {
namespace {

constexpr uid_t kFirst = 0x70000000;

struct MappedNode : TestNode {
  MappedNode() {
    checked(node->create_sandbox({.id = "mapped",
                                  .hostname = "web-0",
                                  .sysctls = {"net.ipv4.ip_unprivileged_port_start=80"},
                                  .shared_memory = directory + "/shm-mapped",
                                  .first_id = kFirst}));
    REQUIRE(sys::make_directories(directory + "/logs").ok());
  }
  ContainerSpec mapped(const std::string& id, const std::string& script) {
    ContainerSpec spec_of = container(id, script);
    spec_of.sandbox = "mapped";
    return spec_of;
  }
};

std::pair<uid_t, gid_t> owner(const std::string& path) {
  struct stat info {};
  REQUIRE(::lstat(path.c_str(), &info) == 0);
  return {info.st_uid, info.st_gid};
}

}  // namespace

TEST_CASE("the root of a pod with a user namespace is nobody on the node, and its files are root's on disk") {
  if (skip_without_root()) return;
  MappedNode test;
  const std::string volume = test.directory + "/volume";
  REQUIRE(sys::make_directory(volume).ok());
  REQUIRE(sys::write_file(volume + "/before", "text", 0600).ok());
  REQUIRE(::chown((volume + "/before").c_str(), 101, 102) == 0);
  ContainerSpec spec = test.mapped("c", R"(
    tr -s ' ' < /proc/self/uid_map; id -u; hostname
    touch /made /dev/shm/x /volume/made && mkdir /bin/more && echo changed >> /etc/passwd && echo files
    ls -ln /volume/before | tr -s ' ' | { read mode links uid gid rest; echo $uid $gid; }
    cat /volume/before; echo
    echo again > /dev/stdout
    cat /proc/sys/net/ipv4/ip_unprivileged_port_start
    ls -ln / /dev | tr -s ' ' | grep -v 'proc$\|sys$\|shm$\|:\|total\|^$' | while read mode links uid gid rest; do
      [ $uid$gid = 00 ] || [ $gid = 5 ] || echo $rest $uid $gid; done
    echo end)");
  spec.mounts = {{.source = volume, .target = "/volume"}};
  CHECK(test.output_of(spec) == fmt::format(" 0 {} 65536\n0\nweb-0\nfiles\n101 102\ntext\nagain\n80\nend\n", kFirst));
  CHECK(owner(volume + "/made") == std::pair<uid_t, gid_t>(0, 0));
  CHECK(owner(test.directory + "/c/upper/made") == std::pair<uid_t, gid_t>(0, 0));
  CHECK(owner(test.directory + "/c/upper/etc/passwd") == std::pair<uid_t, gid_t>(0, 0));
  CHECK(owner(test.directory + "/layer/etc/passwd") == std::pair<uid_t, gid_t>(0, 0));
  CHECK(sys::read_file(test.directory + "/layer/etc/passwd").value().find("changed") == std::string::npos);
}

TEST_CASE("in a user namespace users, exec and terminals work as elsewhere") {
  if (skip_without_root()) return;
  MappedNode test;
  ContainerSpec spec = test.mapped("u", "id; touch /dev/shm/x && ls -ln /dev/shm/x | { read mode links uid gid rest; echo $uid $gid; }; echo e > /dev/stderr");
  spec.process.user = "web";
  CHECK(test.output_of(spec) == "uid=101(web) gid=102(web) groups=102(web),103(extra)\n101 102\ne\n");
  ContainerSpec wait = test.mapped("w", "sleep 1000");
  test.run(wait);
  Result<ExecSession> exec = test.node->exec({.container = "w", .arguments = {"sh", "-c", "id -u; cat /proc/self/uid_map"}});
  INFO((exec.ok() ? "" : exec.error().message()));
  REQUIRE(exec.ok());
  std::string text;
  for (std::string part; part = sys::read_some(exec.value().streams.output, 4096, "out").value(), !part.empty();) text += part;
  CHECK(text.find("0\n") == 0);
  CHECK(text.find(std::to_string(kFirst)) != std::string::npos);
  ContainerSpec terminal = test.mapped("t", "tty; id -u");
  terminal.tty = true;
  CHECK(test.output_of(terminal).find("/dev/pts/0") == 0);
  REQUIRE(test.node->signal_container("w", SIGKILL).ok());
}

TEST_CASE("a capability in a user namespace is one over the pod's own things only") {
  if (skip_without_root()) return;
  MappedNode test;
  ContainerSpec spec = test.mapped("c", R"(
    ip link set lo down && ip link set lo up && echo own-network
    mount -t tmpfs x /tmp && echo own-mount
    mount -o remount,rw /volume 2>/dev/null || echo volume-stays-read-only
    touch /volume/x 2>/dev/null || echo cannot-write
    sh -c 'echo core > /proc/sys/kernel/core_pattern' 2>/dev/null || echo no-core-pattern
    kill -0 1 && echo own-init)");
  spec.read_only_paths.clear();
  spec.masked_paths.clear();
  spec.process.seccomp.clear();
  CapabilitySet all{~std::uint64_t{0}};
  spec.process.capabilities = {all, all, all, {}, {}};
  REQUIRE(sys::make_directory(test.directory + "/volume").ok());
  spec.mounts = {{.source = test.directory + "/volume", .target = "/volume", .read_only = true}};
  CHECK(test.output_of(spec) == "own-network\nown-mount\nvolume-stays-read-only\ncannot-write\nno-core-pattern\nown-init\n");
}

TEST_CASE("a file system without mapped mounts fails the start in words that say so") {
  if (skip_without_root()) return;
  MappedNode test;
  ContainerSpec spec = test.mapped("c", "true");
  spec.mounts = {{.source = "/proc/self", .target = "/volume"}};
  Result<StartedContainer> started = test.node->run_container(spec);
  REQUIRE_FALSE(started.ok());
  CHECK(started.error().message().find("failed to set MOUNT_ATTR_IDMAP on /proc/self (its file system has no mounts with mapped ids "
                                       "on this kernel)") != std::string::npos);
}

}  // namespace skiff::runtime
