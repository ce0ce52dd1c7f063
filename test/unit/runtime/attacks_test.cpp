// Ways out of a container that others found, and that must not be ways out of ours. Each names its class.

#include "test_node.hpp"

namespace skiff::runtime {

TEST_CASE("masks come from our own /dev/null, not from a volume's (CVE-2025-31133)") {
  if (skip_without_root()) return;
  TestNode test;
  std::string volume = test.directory + "/dev";
  REQUIRE(sys::make_directory(volume).ok());
  REQUIRE(sys::symlink("/proc/sys/kernel/core_pattern", volume + "/null").ok());
  ContainerSpec spec = test.container("c", "cat /proc/interrupts && echo empty");
  Mount mount;
  mount.source = volume;
  mount.target = "/dev";
  spec.mounts = {mount};
  CHECK(test.output_of(spec) == "empty\n");
}

TEST_CASE("nothing is mounted over /proc (CVE-2019-19921, CVE-2025-52881)") {
  if (skip_without_root()) return;
  TestNode test;
  REQUIRE(sys::make_directory(test.directory + "/fake").ok());
  for (const char* target : {"/proc", "/proc/sys", "/link/self/attr"}) {
    DYNAMIC_SECTION(target) {
      ContainerSpec spec = test.container("c", "true");
      REQUIRE(sys::remove_file(test.directory + "/layer/link").ok());
      REQUIRE(sys::symlink("/proc", test.directory + "/layer/link").ok());
      Mount mount;
      mount.source = test.directory + "/fake";
      mount.target = target;
      spec.mounts = {mount};
      Result<StartedContainer> started = test.node->run_container(spec);
      REQUIRE_FALSE(started.ok());
      CHECK(started.error().message() == fmt::format("\"{}\" cannot be mounted because it is inside /proc", target));
    }
  }
}

TEST_CASE("a working directory is no descriptor that happens to be open (CVE-2024-21626)") {
  if (skip_without_root()) return;
  TestNode test;
  for (int fd = 3; fd < 24; ++fd) {
    ContainerSpec spec = test.container(fmt::format("c{}", fd), "pwd");
    spec.process.working_directory = fmt::format("/proc/self/fd/{}", fd);
    Result<StartedContainer> started = test.node->run_container(spec);
    REQUIRE_FALSE(started.ok());
    CHECK(started.error().message().find("chdir to cwd") != std::string::npos);
  }
}

TEST_CASE("a sub path that is swapped for a link is refused when it is mounted (CVE-2017-1002101, CVE-2021-25741)") {
  if (skip_without_root()) return;
  TestNode test;
  std::string volume = test.directory + "/volume";
  REQUIRE(sys::make_directory(volume).ok());
  REQUIRE(sys::make_directory(test.directory + "/secret").ok());
  for (const char* target : {"../secret", "/etc", "/"}) {
    REQUIRE(sys::remove_file(volume + "/sub").ok());
    REQUIRE(sys::symlink(target, volume + "/sub").ok());
    ContainerSpec spec = test.container("c", "ls /data");
    Mount mount;
    mount.source = volume;
    mount.sub_path = "sub";
    mount.target = "/data";
    spec.mounts = {mount};
    Result<StartedContainer> started = test.node->run_container(spec);
    REQUIRE_FALSE(started.ok());
    CHECK(started.error().message().find("subPath") != std::string::npos);
  }
}

TEST_CASE("a fork bomb ends at its group's limit") {
  if (skip_without_root()) return;
  TestNode test;
  ContainerSpec spec = test.container("c", "i=0; while [ $i -lt 60 ]; do sleep 1000 & i=$((i+1)); done; echo all");
  REQUIRE(test.cgroups->set_limits(spec.cgroup, {.pids = 20}).ok());
  std::string output = test.output_of(spec);
  CHECK(output.find("can't fork: Resource temporarily unavailable") != std::string::npos);
  CHECK(output.find("all") == std::string::npos);
}

TEST_CASE("a profile of the user's decides over system calls") {
  if (skip_without_root()) return;
  TestNode test;
  ContainerSpec spec = test.container("c", "mkdir /tmp/x || echo refused; touch /tmp/y && echo made");
  Result<std::string> program = seccomp_from_profile(
      R"({"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_AARCH64"],
          "syscalls":[{"names":["mkdir","mkdirat","no_such_call"],"action":"SCMP_ACT_ERRNO","errnoRet":1,"args":[]},
                      {"names":["utimensat"],"action":"SCMP_ACT_ERRNO","includes":{"caps":["CAP_SYS_BOOT"]}}]})",
      kDefaultCapabilities);
  REQUIRE(program.ok());
  spec.process.seccomp = program.value();
  CHECK(test.output_of(spec).find("refused\nmade\n") != std::string::npos);
  CHECK_FALSE(seccomp_from_profile("[]", {}).ok());
  CHECK_FALSE(seccomp_from_profile("{", {}).ok());
  CHECK(seccomp_from_profile(R"({"defaultAction":"SCMP_ACT_MAYBE"})", {}).error().message() ==
        "string SCMP_ACT_MAYBE is not a valid action for seccomp");
  CHECK_FALSE(seccomp_from_profile(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":"mkdir","action":7}]})", {}).ok());
}

// release_agent, core_pattern, mounts, namespaces: CVE-2022-0492, CVE-2022-0185 and their like.
TEST_CASE("what a container may not do with the kernel") {
  if (skip_without_root()) return;
  TestNode test;
  CHECK(test.output_of(test.container("c",
                                      "echo x > /proc/sys/kernel/core_pattern; echo x > /proc/sys/vm/drop_caches;"
                                      "mount -t tmpfs none /tmp; unshare -m true; unshare -U true;"
                                      "for d in '' /memory; do (echo x > /sys/fs/cgroup$d/release_agent) 2>/dev/null && echo wrote; done; true")) ==
        "sh: can't create /proc/sys/kernel/core_pattern: Read-only file system\n"
        "sh: can't create /proc/sys/vm/drop_caches: Read-only file system\n"
        "mount: permission denied (are you root?)\n"
        "unshare: unshare(0x20000): Operation not permitted\n"
        "unshare: unshare(0x10000000): Operation not permitted\n");
}

}  // namespace skiff::runtime
