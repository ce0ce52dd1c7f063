#include "cluster/death_watch.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <condition_variable>
#include <mutex>
#include <vector>

namespace skiff::cluster {
namespace {

// A process that ends when it is told to.
struct Process {
  Process() {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    pid = ::fork();
    if (pid == 0) {
      ::close(ends[1]);
      char byte = 0;
      ::_exit(::read(ends[0], &byte, 1) == 0 ? 0 : 1);
    }
    ::close(ends[0]);
    life = UniqueFd(ends[1]);
    ::fcntl(life.get(), F_SETFD, FD_CLOEXEC);
  }
  ~Process() {
    end();
    ::waitpid(pid, nullptr, 0);
  }
  UniqueFd handle() const { return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))); }
  void end() { life.reset(); }
  pid_t pid = 0;
  UniqueFd life;
};

}  // namespace

TEST_CASE("a node that dies is told of, once; one that was forgotten is not") {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> died;
  auto watch = DeathWatch::start([&](const std::string& node) {
                 std::lock_guard lock(mutex);
                 died.push_back(node);
                 changed.notify_all();
               }).value();
  auto wait_for = [&](size_t count) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return died.size() >= count; });
  };
  Process c, b, a;  // in this order: each has the pipes of those before, and dies before them
  watch->watch("a", a.handle());
  watch->watch("b", b.handle());
  watch->watch("c", c.handle());
  a.end();
  wait_for(1);
  watch->forget("b");
  b.end();
  c.end();
  wait_for(2);
  CHECK(died == std::vector<std::string>{"a", "c"});
}

}  // namespace skiff::cluster
