#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "sys/namespaces.hpp"
#include "sys/process.hpp"
#include "test_node.hpp"

namespace skiff::runtime {
namespace {

std::string read_all(const UniqueFd& fd) {
  std::string all;
  for (;;) {
    Result<std::string> part = sys::read_some(fd, 4096, "stream");
    if (!part.ok() || part.value().empty()) return all;  // a terminal ends with EIO
    all += part.value();
  }
}

}  // namespace

TEST_CASE("exec runs beside the container's process") {
  if (skip_without_root()) return;
  TestNode test;
  ContainerSpec spec = test.container("c", "sleep 1000");
  spec.process.environment = {"COLOR=blue"};
  test.run(spec);
  SECTION("streams and exit code") {
    ExecSession session = TestNode::checked(
        test.node->exec({.container = "c",
                         .arguments = {"sh", "-c", "cat; echo $COLOR >&2; test $$ != 1; exit 5"},
                         .wants_stdin = true}));
    REQUIRE(sys::write_all(session.streams.input, "typed", "input").ok());
    session.streams.input.reset();
    CHECK(read_all(session.streams.output) == "typed");
    CHECK(read_all(session.streams.error) == "blue\n");
    CHECK(test.node->wait_exec(session.id, {}).value() == 5);
  }
  SECTION("a terminal with a size") {
    ExecSession session = TestNode::checked(test.node->exec(
        {.container = "c", .arguments = {"sh", "-c", "read x; tty; stty size; echo $TERM"}, .tty = true}));
    winsize size{40, 120, 0, 0};
    REQUIRE(::ioctl(session.streams.terminal.get(), TIOCSWINSZ, &size) == 0);
    REQUIRE(sys::write_all(session.streams.terminal, "go\n", "terminal").ok());
    CHECK(read_all(session.streams.terminal) == "go\r\n/dev/pts/0\r\n40 120\r\nxterm\r\n");
    CHECK(test.node->wait_exec(session.id, {}).value() == 0);
  }
  SECTION("the same limits as the container") {
    ExecSession session = TestNode::checked(test.node->exec(
        {.container = "c", .arguments = {"grep", "-E", "CapEff|Seccomp:", "/proc/self/status"}}));
    CHECK(read_all(session.streams.output) == "CapEff:\t00000000a80425fb\nSeccomp:\t2\n");
    CHECK(test.node->wait_exec(session.id, {}).value() == 0);
  }
  SECTION("no such program, no such container") {
    CHECK(test.node->exec({.container = "c", .arguments = {"foo"}}).error().message() ==
          "exec: \"foo\": executable file not found in $PATH");
    CHECK(test.node->exec({.container = "x", .arguments = {"sh"}}).error().code() == Code::NotFound);
  }
  SECTION("waiting can be canceled") {
    ExecSession session =
        TestNode::checked(test.node->exec({.container = "c", .arguments = {"sleep", "1000"}}));
    std::stop_source stop;
    stop.request_stop();
    CHECK(test.node->wait_exec(session.id, stop.get_token()).error().code() == Code::Canceled);
    REQUIRE(test.node->signal_exec(session.id, SIGKILL).ok());
    CHECK(test.node->wait_exec(session.id, {}).value() == 137);
  }
}

TEST_CASE("a container with a terminal and stdin is attached to") {
  if (skip_without_root()) return;
  TestNode test;
  SECTION("terminal") {
    ContainerSpec spec = test.container("c", "read x; echo got $x; tty");
    spec.tty = true;
    spec.wants_stdin = true;
    test.run(spec);
    Streams streams = TestNode::checked(test.node->attach("c"));
    REQUIRE(sys::write_all(streams.input, "word\n", "input").ok());
    CHECK(read_all(streams.output) == "word\r\ngot word\r\n/dev/pts/0\r\n");
    CHECK(test.wait_exit("c").exit_code == 0);
  }
  SECTION("pipe") {
    ContainerSpec spec = test.container("c", "cat");
    spec.wants_stdin = true;
    test.run(spec);
    Streams streams = TestNode::checked(test.node->attach("c"));
    REQUIRE(sys::write_all(streams.input, "word\n", "input").ok());
    streams.input.reset();
    REQUIRE(test.node->close_stdin("c").ok());
    CHECK(test.wait_exit("c").exit_code == 0);
    CHECK(read_all(streams.output) == "word\n");
    CHECK(test.lines("c") == "word\n");
  }
  SECTION("whoever comes late to a program that waits for input misses nothing") {
    ContainerSpec spec = test.container("c", "echo prompt; cat");
    spec.wants_stdin = true;
    test.run(spec);
    while (test.log("c").find("prompt") == std::string::npos) std::this_thread::yield();
    Streams first = TestNode::checked(test.node->attach("c"));
    Streams second = TestNode::checked(test.node->attach("c"));
    REQUIRE(sys::write_all(first.input, "word\n", "input").ok());
    first.input.reset(), second.input.reset();
    REQUIRE(test.node->close_stdin("c").ok());
    CHECK(read_all(first.output) == "prompt\nword\n");
    CHECK(read_all(second.output) == "word\n");
  }
  SECTION("a container that has closed its output is at its end") {
    test.run(test.container("c", "exec >/dev/null 2>&1; sleep 1000"));
    Result<Streams> streams = test.node->attach("c");
    while (streams.ok()) streams = test.node->attach("c");  // until the shell got that far
    CHECK(streams.error().message() == "container is not running");
  }
}

TEST_CASE("a container may see another one's processes") {
  if (skip_without_root()) return;
  TestNode test;
  test.run(test.container("target", "exec sleep 1234"));
  ContainerSpec spec = test.container("c", "ps");
  spec.pids_of = "target";
  CHECK(test.output_of(spec).find("sleep 1234") != std::string::npos);
  ContainerSpec lost = test.container("d", "ps");
  lost.pids_of = "nobody";
  CHECK(test.node->run_container(lost).error().message() == "the target container does not run: no such process");
}

TEST_CASE("a container says which ids it runs with, and gets only the groups it asked for when told so") {
  if (skip_without_root()) return;
  TestNode test;
  ContainerSpec spec = test.container("c", "id");
  spec.process.user = "web";
  spec.process.supplementary_groups = {4000};
  SECTION("with those of the image") {
    StartedContainer started = TestNode::checked(test.node->run_container(spec));
    REQUIRE(started.identity);
    CHECK(started.identity->uid == 101);
    CHECK(started.identity->gid == 102);
    CHECK(started.identity->groups == std::vector<std::int64_t>{102, 103, 4000});
    CHECK(test.wait_exit("c").identity->groups.size() == 3);
  }
  SECTION("strictly") {
    spec.process.strict_groups = true;
    StartedContainer started = TestNode::checked(test.node->run_container(spec));
    CHECK(started.identity->groups == std::vector<std::int64_t>{102, 4000});
  }
}

TEST_CASE("containers of a pod share what they should") {
  if (skip_without_root()) return;
  TestNode test;
  ContainerSpec first = test.container("a", "sleep 1000");
  SECTION("its network, which is handed out") {
    test.run(first);
    UniqueFd network = TestNode::checked(test.node->sandbox_network("pod"));
    UniqueFd listening = TestNode::checked(sys::in_network(network, []() -> Result<UniqueFd> {
      return UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    }));
    CHECK(::listen(listening.get(), 1) == 0);
    CHECK(test.output_of(test.container("b", "grep -c ' 0A ' /proc/net/tcp")) == "1\n");
  }
  SECTION("its processes, when it asks to") {
    REQUIRE(test.node
                ->create_sandbox(
                    {.id = "shared", .labels = {}, .hostname = "h", .sysctls = {}, .shared_pids = true})
                .ok());
    first.sandbox = "shared";
    test.run(first);
    ContainerSpec second = test.container("b", "ps | grep -c 'sleep 100[0]'; test $$ != 1 && echo not first");
    second.sandbox = "shared";
    CHECK(test.output_of(second) == "1\nnot first\n");
    REQUIRE(test.node->signal_container("a", SIGKILL).ok());
    CHECK(test.wait_exit("a").exit_code == 137);
    CHECK(test.node->remove_sandbox("shared").ok());
  }
  SECTION("sysctls") {
    REQUIRE(test.node
                ->create_sandbox(
                    {.id = "s", .labels = {}, .hostname = "h", .sysctls = {"net.ipv4.ip_default_ttl=33"}})
                .ok());
    first.sandbox = "s";
    first.process.arguments = {"cat", "/proc/sys/net/ipv4/ip_default_ttl"};
    CHECK(test.output_of(first) == "33\n");
    CHECK_FALSE(
        test.node->create_sandbox({.id = "t", .labels = {}, .hostname = "h", .sysctls = {"no.such=1"}}).ok());
  }
}

TEST_CASE("a volume in memory is seen by containers and by us, not by the host") {
  if (skip_without_root()) return;
  TestNode test;
  std::string volume = test.directory + "/memory";
  REQUIRE(sys::make_directories(volume).ok());
  REQUIRE(test.node->mount({.target = volume, .options = "size=64k,mode=0755"}).ok());
  REQUIRE(sys::write_file(test.node->path(volume) + "/key", "secret\n").ok());
  CHECK_FALSE(sys::exists(volume + "/key"));
  ContainerSpec spec = test.container("c", "cat /v/key");
  spec.mounts.push_back({.source = volume, .sub_path = {}, .target = "/v", .read_only = true});
  CHECK(test.output_of(spec) == "secret\n");
  CHECK(test.node->unmount(volume).ok());
  CHECK(test.node->unmount(volume).ok());
}

TEST_CASE("the node outlives its client and is found again") {
  if (skip_without_root()) return;
  TestNode test;
  test.run(test.container("stays", "sleep 1000"));
  test.run(test.container("ends", "read x < /dev/zero; exit 9"));
  test.reconnect();
  NodeContents contents = test.node->list().value();
  REQUIRE(contents.sandboxes.size() == 1);
  CHECK(contents.sandboxes[0].labels == Labels{{"uid", "1"}});
  REQUIRE(contents.containers.size() == 2);
  CHECK(contents.containers[0].state == ContainerState::Running);
  CHECK(contents.containers[0].labels == Labels{{"name", "stays"}});
  REQUIRE(test.node->signal_container("ends", SIGKILL).ok());
  CHECK(test.wait_exit("ends").exit_code == 137);  // events reach the new client
}

TEST_CASE("kill -9 of the program that started it leaves the node running") {
  if (skip_without_root()) return;
  TestNode test;
  REQUIRE(test.node->power_off().ok());
  test.node.reset();
  // So that the node is ours to reap once its starter is gone.
  REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  // A child of ours starts the node, says so and is killed.
  sys::Pipe pipe = sys::make_pipe().value();
  pid_t child = ::fork();
  if (child == 0) {
    auto node = Node::start(test.spec, {*test.cgroups, test.clock}, [](const ContainerStatus&) {});
    (void)::write(pipe.write.get(), node.ok() ? "y" : "n", 1);
    for (;;) ::pause();
  }
  CHECK(sys::read_some(pipe.read, 1, "pipe").value() == "y");
  REQUIRE(::kill(child, SIGKILL) == 0);
  CHECK(sys::reap(child).value() == 137);
  test.reconnect();
  CHECK(test.node->list().value().containers.empty());
  CHECK(test.output_of(test.container("c", "echo alive")) == "alive\n");
}

TEST_CASE("containers and commands are born in their cgroup on v2") {
  // Beside v1 there is often a v2 tree without controllers; joining works there as everywhere.
  const std::string root =
      sys::exists("/sys/fs/cgroup/unified") ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";
  if (skip_without_root()) return;
  if (!sys::exists(root + "/cgroup.controllers")) {
    std::cout << "skipped: no cgroup v2 tree\n";
    return;
  }
  TestNode test(root);
  ContainerSpec spec = test.container("c", "sleep 1000");
  test.run(spec);
  ExecSession session = TestNode::checked(test.node->exec({.container = "c", .arguments = {"grep", "^0:", "/proc/self/cgroup"}}));
  CHECK(read_all(session.streams.output) == "0::/\n");
  CHECK(test.node->wait_exec(session.id, {}).value() == 0);
  CHECK_FALSE(sys::read_file(root + "/" + spec.cgroup + "/cgroup.procs").value().empty());
  REQUIRE(test.cgroups->kill_all(spec.cgroup).ok());  // cgroup.kill
  CHECK(test.wait_exit("c").exit_code == 137);
}

TEST_CASE("power off ends every process and mount of the node") {
  if (skip_without_root()) return;
  TestNode test;
  test.run(test.container("c", "sleep 1000 & sleep 1000 & wait"));
  std::string mounts = sys::read_file("/proc/self/mountinfo").value();
  CHECK(mounts.find(test.directory) == std::string::npos);  // none of its mounts ever was the host's
  REQUIRE(test.node->power_off().ok());
  CHECK_FALSE(test.cgroups->exists(test.spec.cgroup));  // removable only without processes
  CHECK_FALSE(test.node->alive());
  CHECK(test.node->list().error().code() == Code::Unavailable);
  CHECK(Node::connect(test.spec, {*test.cgroups, test.clock}, {}).error().code() == Code::NotFound);
  test.start();
  CHECK(test.node->list().value().sandboxes.empty());
}

}  // namespace skiff::runtime
