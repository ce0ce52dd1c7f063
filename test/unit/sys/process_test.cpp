#include "sys/process.hpp"

#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <iostream>

#include "sys/files.hpp"
#include "sys/namespaces.hpp"

namespace skiff::sys {

TEST_CASE("a child gets its arguments, environment and inherited descriptors only") {
  Pipe pipe = make_pipe().value();
  pid_t pid = launch({.program = "/bin/sh",
                      .arguments = {"sh", "-c", "echo $GREETING $0 >&7; exit 3", "name"},
                      .environment = {"GREETING=hello"},
                      .inherit = {{pipe.write.get(), 7}}})
                  .value();
  pipe.write.reset();
  CHECK(reap(pid).value() == 3);
  CHECK(read_some(pipe.read, 100, "pipe").value() == "hello name\n");
  CHECK(read_some(pipe.read, 100, "pipe").value().empty());
}

TEST_CASE("a program that is not there is an error, not a child") {
  Result<pid_t> pid =
      launch({.program = "/no/such", .arguments = {"such"}, .environment = {}, .inherit = {}});
  REQUIRE_FALSE(pid.ok());
  CHECK(pid.error().sys_errno() == ENOENT);
}

TEST_CASE("a process is watched and ended by its pidfd") {
  pid_t pid =
      launch({.program = "/bin/sleep", .arguments = {"sleep", "1000"}, .environment = {}, .inherit = {}})
          .value();
  UniqueFd pidfd = open_pidfd(pid).value();
  CHECK_FALSE(wait_ended(pidfd, 0ms).value());
  REQUIRE(send_signal(pidfd, SIGTERM).ok());
  CHECK(wait_ended(pidfd, 10s).value());
  CHECK(reap(pid).value() == 128 + SIGTERM);
  CHECK(send_signal(pidfd, SIGTERM).error().code() == Code::NotFound);
}

TEST_CASE("a sealed program cannot be changed and runs") {
  UniqueFd program = sealed_program("echo", read_file("/bin/echo").value()).value();
  CHECK(::write(program.get(), "x", 1) < 0);
  CHECK(::ftruncate(program.get(), 0) < 0);
  std::string path = fmt::format("/proc/self/fd/{}", program.get());
  Pipe pipe = make_pipe().value();
  pid_t pid = launch({.program = path,
                      .arguments = {"echo", "ran"},
                      .environment = {},
                      .inherit = {{pipe.write.get(), 1}}})
                  .value();
  CHECK(reap(pid).value() == 0);
  CHECK(read_some(pipe.read, 100, "pipe").value() == "ran\n");
}

TEST_CASE("a thread visits a network namespace and comes back") {
  if (::geteuid() != 0) {
    std::cout << "skipped: namespaces need root\n";
    return;
  }
  auto inode = [](const UniqueFd& fd) {
    struct stat info {};
    REQUIRE(::fstat(fd.get(), &info) == 0);
    return info.st_ino;
  };
  UniqueFd home = open_namespace(Namespace::Network).value();
  UniqueFd other = new_network_namespace().value();
  CHECK(inode(home) == inode(open_namespace(Namespace::Network).value()));
  CHECK(inode(home) != inode(other));
  Result<ino_t> inside = in_network(other, [&]() -> Result<ino_t> {
    TRY_ASSIGN(UniqueFd here, open_namespace(Namespace::Network));
    return inode(here);
  });
  CHECK(inside.value() == inode(other));
  CHECK(inode(home) == inode(open_namespace(Namespace::Network).value()));
}

}  // namespace skiff::sys
