#include "sys/device_program.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <iostream>

#include "sys/files.hpp"
#include "sys/process.hpp"

namespace skiff::sys {

TEST_CASE("rules for devices") {
  CHECK(device_program({}).value().size() == 8);
  CHECK(device_program({"a"}).value().size() == 8 + 5);
  CHECK(device_program({"c 1:3 rwm"}).value().size() == 8 + 8);
  CHECK(device_program({"b *:* m"}).value().size() == 8 + 6);
  for (const char* wrong : {"", "x 1:3 r", "c 1 r", "c 1:x r", "c:1:3"}) CHECK_FALSE(device_program({wrong}).ok());
}

TEST_CASE("the kernel holds a group to its devices") {
  std::string root = exists("/sys/fs/cgroup/cgroup.controllers") ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified";
  Result<UniqueFd> program = load_device_program(device_program({"c 1:3 rw", "c 1:5 r"}).value());
  if (::geteuid() != 0 || !program.ok() || !exists(root + "/cgroup.procs") || !exists("/bin/busybox")) {
    std::cout << "skipped: needs root, cgroup v2 and bpf\n";
    return;
  }
  std::string group = fmt::format("{}/skiff-test-{}", root, ::getpid());
  REQUIRE(make_directory(group).ok());
  REQUIRE(attach_device_program(group, program.value()).ok());
  auto code_of = [&](const std::string& script) {
    Result<pid_t> pid = launch({.program = "/bin/busybox",
                                .arguments = {"busybox", "sh", "-c", "echo 0 > " + group + "/cgroup.procs && " + script},
                                .environment = {},
                                .inherit = {},
                                .new_session = false});
    REQUIRE(pid.ok());
    return reap(pid.value()).value();
  };
  CHECK(code_of("echo x > /dev/null") == 0);
  CHECK(code_of("head -c 1 /dev/zero > /dev/null") == 0);
  CHECK(code_of("(echo x > /dev/zero) 2> /dev/null") != 0);   // allowed to read only
  CHECK(code_of("(head -c 1 /dev/full) 2> /dev/null") != 0);  // not named at all
  CHECK(code_of("(mknod /tmp/skiff-device c 1 3) 2> /dev/null") != 0);
  CHECK(::rmdir(group.c_str()) == 0);
}

}  // namespace skiff::sys
