#include <signal.h>

#include "test_node.hpp"

namespace skiff::runtime {

TEST_CASE("a container runs, logs, ends and is told of") {
  if (skip_without_root()) return;
  TestNode test;
  test.run(test.container("c", "echo one; echo two >&2; printf three; exit 7"));
  ContainerStatus status = test.wait_exit("c");
  CHECK(status.exit_code == 7);
  CHECK(status.signal == 0);
  CHECK_FALSE(status.oom_killed);
  CHECK(status.labels == Labels{{"name", "c"}});
  CHECK(status.started_at <= status.finished_at);
  std::string log = test.log("c");
  CHECK(log.find("Z stdout F one\n") != std::string::npos);
  CHECK(log.find(" stderr F two\n") != std::string::npos);
  CHECK(log.find(" stdout P three\n") != std::string::npos);
  REQUIRE(test.node->list().value().containers.size() == 1);
  REQUIRE(test.node->remove_container(status).ok());
  CHECK(test.node->list().value().containers.empty());
  CHECK_FALSE(sys::exists(status.directory));
  CHECK_FALSE(test.cgroups->exists(status.cgroup));
  CHECK(test.node->remove_container(status).ok());  // again is fine
}

TEST_CASE("inside a container") {
  if (skip_without_root()) return;
  TestNode test;
  struct Row {
    std::string name, script, want;
  };
  const std::vector<Row> rows = {
      {"its first process is 1", "echo $$", "1\n"},
      {"the pod's host name", "hostname", "web-0\n"},
      {"only lo", "ls /sys/class/net", "lo\n"},
      {"masked file", "cat /proc/interrupts; echo done", "done\n"},
      {"masked directory", "ls /sys/firmware; echo done", "done\n"},
      {"read-only proc", "echo 1 > /proc/sys/vm/drop_caches || echo no",
       "sh: can't create /proc/sys/vm/drop_caches: Read-only file system\nno\n"},
      {"no mount", "mount -t tmpfs x /tmp || echo no", "mount: permission denied (are you root?)\nno\n"},
      {"default capabilities", "grep CapEff /proc/self/status | tr -d '\\t'", "CapEff:00000000a80425fb\n"},
      {"seccomp on", "grep Seccomp: /proc/self/status | tr -d '\\t'", "Seccomp:2\n"},
      {"no stray descriptors", "ls /proc/self/fd | tr '\\n' ' '", "0 1 2 3 \n"},
      {"devices", "echo x > /dev/null; ls /dev | tr '\\n' ' '",
       "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero \n"},
      {"no device of the host",
       "busybox mknod /dev/host b 254 0 && head -c 1 /dev/host 2>/dev/null || echo no", "no\n"},
      {"shared memory", "touch /dev/shm/x && echo yes", "yes\n"},
      {"root's home and default PATH", "echo $HOME $PATH",
       "/root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"},
      {"cgroup root", "grep -c ':/$' /proc/self/cgroup > /dev/null && echo yes", "yes\n"},
      {"no old root", "ls / | tr '\\n' ' '", "bin dev etc home proc sys tmp \n"},
  };
  int number = 0;
  for (const Row& row : rows) {
    INFO(row.name);
    CHECK(test.output_of(test.container(fmt::format("c{}", number++), row.script)) == row.want);
  }
}

TEST_CASE("a container is what its process spec says") {
  if (skip_without_root()) return;
  TestNode test;
  SECTION("user by name, with groups, home and working directory") {
    ContainerSpec spec =
        test.container("c", "id; echo $HOME; pwd; grep CapEff /proc/self/status | tr -d '\\t'");
    spec.process.user = "web";
    spec.process.supplementary_groups = {2000};
    spec.process.working_directory = "/made/here";
    CHECK(
        test.output_of(spec) ==
        "uid=101(web) gid=102(web) groups=102(web),103(extra),2000\n/home/web\n/made/here\nCapEff:0000000000000000\n");
  }
  SECTION("user and group by number") {
    ContainerSpec spec = test.container("c", "id -u; id -g");
    spec.process.user = "1234:5678";
    CHECK(test.output_of(spec) == "1234\n5678\n");
  }
  SECTION("no new privileges") {
    ContainerSpec spec = test.container("c", "grep NoNewPrivs /proc/self/status | tr -d '\\t'");
    spec.process.no_new_privileges = true;
    CHECK(test.output_of(spec) == "NoNewPrivs:1\n");
  }
  SECTION("read-only root with a writable mount, a file mount and a sub path") {
    REQUIRE(sys::make_directories(test.directory + "/volume/sub").ok());
    REQUIRE(sys::write_file(test.directory + "/volume/file", "content\n").ok());
    REQUIRE(sys::write_file(test.directory + "/volume/sub/inner", "below\n").ok());
    ContainerSpec spec = test.container("c",
                                        "touch /x || echo ro; touch /data/new && echo rw; cat /etc/conf; cat "
                                        "/sub/inner; touch /sub/x || echo ro");
    spec.read_only_root = true;
    spec.mounts.push_back({.source = test.directory + "/volume", .sub_path = {}, .target = "/data"});
    spec.mounts.push_back({.source = test.directory + "/volume/file", .sub_path = {}, .target = "/etc/conf"});
    spec.mounts.push_back(
        {.source = test.directory + "/volume", .sub_path = "sub", .target = "/sub", .read_only = true});
    CHECK(test.output_of(spec) ==
          "touch: /x: Read-only file system\nro\nrw\ncontent\nbelow\n"
          "touch: /sub/x: Read-only file system\nro\n");
    CHECK(sys::exists(test.directory + "/volume/new"));
  }
  SECTION("a sub path cannot lead out of its volume") {
    REQUIRE(sys::make_directories(test.directory + "/volume").ok());
    REQUIRE(sys::symlink("/etc", test.directory + "/volume/out").ok());
    ContainerSpec spec = test.container("c", "true");
    spec.mounts.push_back({.source = test.directory + "/volume", .sub_path = "out", .target = "/data"});
    CHECK_FALSE(test.node->run_container(spec).ok());
  }
  SECTION("privileged") {
    ContainerSpec spec =
        test.container("c", "grep CapEff /proc/self/status | tr -d '\\t'; mount -t tmpfs x /tmp && echo yes");
    spec.privileged = true;
    spec.masked_paths.clear();
    spec.read_only_paths.clear();
    spec.process.seccomp.clear();
    spec.process.capabilities = {kAllCapabilities, kAllCapabilities, kAllCapabilities, {}, {}};
    std::string output = test.output_of(spec);
    CHECK(output.ends_with("yes\n"));
    CHECK(output.find("a80425fb") == std::string::npos);
  }
}

TEST_CASE("a container that cannot start says why") {
  if (skip_without_root()) return;
  TestNode test;
  struct Row {
    std::vector<std::string> command;
    std::string user, directory, want;
  };
  const std::vector<Row> rows = {
      {{"foo"}, "", "/", "exec: \"foo\": executable file not found in $PATH"},
      {{"/foo"}, "", "/", "exec: \"/foo\": stat /foo: no such file or directory"},
      {{"/etc/noexec"}, "", "/", "exec: \"/etc/noexec\": permission denied"},
      {{"/etc"}, "", "/", "exec: \"/etc\": is a directory"},
      {{"true"}, "nobody", "/", "unable to find user nobody: no matching entries in passwd file"},
      {{"true"}, "web:none", "/", "unable to find group web:none: no matching entries in group file"},
      {{"true"},
       "",
       "/etc/passwd",
       "chdir to cwd (\"/etc/passwd\") set in config.json failed: not a directory"},
  };
  int number = 0;
  for (const Row& row : rows) {
    ContainerSpec spec = test.container(fmt::format("c{}", number++), "");
    spec.process.arguments = row.command;
    spec.process.user = row.user;
    spec.process.working_directory = row.directory;
    Result<StartedContainer> started = test.node->run_container(spec);
    REQUIRE_FALSE(started.ok());
    CHECK(started.error().message() == row.want);
    CHECK(started.error().code() == Code::Invalid);
  }
  CHECK(test.node->list().value().containers.empty());
}

TEST_CASE("signals, OOM kills and long lines") {
  if (skip_without_root()) return;
  TestNode test;
  SECTION("a signal that the program handles") {
    test.run(test.container("c", "trap 'echo bye; exit 4' TERM; echo up; while true; do sleep 0.05; done"));
    // The trap is set once "up" is in the log; SIGTERM to a process 1 without one is dropped by the kernel.
    Streams streams = TestNode::checked(test.node->attach("c"));
    while (test.log("c").find("up") == std::string::npos) std::this_thread::yield();
    REQUIRE(test.node->signal_container("c", SIGTERM).ok());
    CHECK(test.wait_exit("c").exit_code == 4);
    CHECK(sys::read_some(streams.output, 100, "output").value().find("bye") != std::string::npos);
    CHECK(test.node->signal_container("c", SIGTERM).ok());  // ended: fine
    CHECK(test.node->signal_container("x", SIGTERM).error().code() == Code::NotFound);
  }
  SECTION("kill") {
    test.run(test.container("c", "sleep 1000"));
    CHECK(test.node->remove_sandbox("pod").error().code() == Code::Conflict);
    REQUIRE(test.node->signal_container("c", SIGKILL).ok());
    ContainerStatus status = test.wait_exit("c");
    CHECK(status.exit_code == 137);
    CHECK(status.signal == 9);
  }
  SECTION("out of memory") {
    ContainerSpec spec = test.container("c", "x=a; while true; do x=$x$x; done");
    REQUIRE(test.cgroups->set_limits(spec.cgroup, {.memory_bytes = 16 << 20}).ok());
    test.run(spec);
    ContainerStatus status = test.wait_exit("c");
    CHECK(status.oom_killed);
    CHECK(status.exit_code == 137);
  }
  SECTION("a line of 40000 bytes is three entries") {
    test.run(test.container("c", "dd if=/dev/zero bs=40000 count=1 2>/dev/null | tr '\\0' x; echo"));
    (void)test.wait_exit("c");
    std::string log = test.log("c");
    CHECK(std::count(log.begin(), log.end(), '\n') == 3);
    CHECK(log.find(" stdout P xxx") != std::string::npos);
    CHECK(log.find(" stdout F xxx") != std::string::npos);
  }
  SECTION("log files rotate and the oldest goes") {
    ContainerSpec spec = test.container("c", "seq 30000");
    spec.log_max_bytes = 100000;
    spec.log_max_files = 3;
    test.run(spec);
    (void)test.wait_exit("c");
    CHECK(test.log("c").find(" 30000\n") != std::string::npos);
    CHECK(sys::exists(spec.log_path + ".1"));
    CHECK_FALSE(sys::exists(spec.log_path + ".3"));
  }
}

}  // namespace skiff::runtime
