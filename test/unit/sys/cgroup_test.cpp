#include "sys/cgroup.hpp"

#include <stdlib.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <iostream>

#include "sys/files.hpp"
#include "sys/process.hpp"

namespace skiff::sys {
namespace {

/// A directory laid out like cgroupfs; the files are plain.
struct FakeTree {
  FakeTree() {
    char name[] = "/tmp/skiff-cgroup-XXXXXX";
    root = ::mkdtemp(name);
  }
  ~FakeTree() { (void)remove_tree(root).ok(); }
  void folder(const std::string& path) const { REQUIRE(make_directories(root + "/" + path).ok()); }
  void file(const std::string& path, std::string_view text) const {
    REQUIRE(write_file(root + "/" + path, text).ok());
  }
  std::string text(const std::string& path) const {
    Result<std::string> content = read_file(root + "/" + path);
    return content.ok() ? content.value() : "(missing)";
  }
  std::string root;
};

struct FakeV1 : FakeTree {
  FakeV1() {
    for (const char* controller : {"memory", "cpu,cpuacct", "pids", "devices", "systemd"}) folder(controller);
    REQUIRE(symlink("cpu,cpuacct", root + "/cpu").ok());
    REQUIRE(symlink("cpu,cpuacct", root + "/cpuacct").ok());
  }
};

struct FakeV2 : FakeTree {
  FakeV2() {
    file("cgroup.controllers", "cpu memory pids\n");
    file("cgroup.subtree_control", "");
  }
};

}  // namespace

TEST_CASE("cpu shares become the weight that the kubelet writes") {
  auto [shares, weight] = GENERATE(table<std::uint64_t, std::uint64_t>(
      {{0, 1}, {2, 1}, {102, 17}, {1024, 100}, {2048, 174}, {262144, 10000}, {999999, 10000}}));
  CHECK(cpu_weight_of_shares(shares) == weight);
}

TEST_CASE("the backend follows the layout") {
  FakeTree neither;
  CHECK(CgroupTree::detect(neither.root).error().code() == Code::Unavailable);
  FakeV1 v1;
  REQUIRE(CgroupTree::detect(v1.root).ok());
  CHECK_FALSE(CgroupTree::detect(v1.root).value()->unified());
  FakeV2 v2;
  REQUIRE(CgroupTree::detect(v2.root).ok());
  CHECK(CgroupTree::detect(v2.root).value()->unified());
}

TEST_CASE("v1 spreads a group over its controllers") {
  FakeV1 fake;
  auto tree = CgroupTree::detect(fake.root).value().get() ? cgroup_v1(fake.root) : nullptr;
  CHECK(tree->mounts() == std::vector<std::string>{"memory", "cpu,cpuacct", "pids", "devices"});
  REQUIRE(tree->create("skiff/a/pod1").ok());
  CHECK(tree->directories("skiff/a/pod1").front() == fake.root + "/memory/skiff/a/pod1");
  CHECK(exists(fake.root + "/pids/skiff/a/pod1"));
  CHECK_FALSE(exists(fake.root + "/systemd/skiff"));
  REQUIRE(tree->set_limits("skiff/a/pod1",
                           {.cpu_shares = 1, .cpu_quota_us = 50000, .memory_bytes = 4096, .pids = -1})
              .ok());
  CHECK(fake.text("cpu,cpuacct/skiff/a/pod1/cpu.shares") == "2");
  CHECK(fake.text("cpu,cpuacct/skiff/a/pod1/cpu.cfs_quota_us") == "50000");
  CHECK(fake.text("cpu,cpuacct/skiff/a/pod1/cpu.cfs_period_us") == "100000");
  CHECK(fake.text("memory/skiff/a/pod1/memory.limit_in_bytes") == "4096");
  CHECK(fake.text("pids/skiff/a/pod1/pids.max") == "max");
  CHECK(tree->children("skiff/a") == std::vector<std::string>{"pod1"});
}

TEST_CASE("v1 reads usage and OOM kills") {
  FakeV1 fake;
  auto tree = cgroup_v1(fake.root);
  CHECK(tree->usage("g").error().code() == Code::NotFound);
  CHECK(tree->oom_kills("g") == 0);
  REQUIRE(tree->create("g").ok());
  fake.file("cpu,cpuacct/g/cpuacct.usage", "123456789\n");
  fake.file("memory/g/memory.usage_in_bytes", "10000\n");
  fake.file("memory/g/memory.stat", "cache 1\ntotal_inactive_file 4000\n");
  fake.file("memory/g/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
  fake.file("pids/g/pids.current", "7\n");
  CgroupUsage usage = tree->usage("g").value();
  CHECK(usage.cpu_ns == 123456789);
  CHECK(usage.memory_bytes == 10000);
  CHECK(usage.working_set_bytes == 6000);
  CHECK(usage.pids == 7);
  CHECK(tree->oom_kills("g") == 3);
}

TEST_CASE("v2 delegates controllers, writes limits and reads usage") {
  FakeV2 fake;
  auto tree = cgroup_v2(fake.root);
  REQUIRE(tree->create("skiff/a").ok());
  CHECK(fake.text("cgroup.subtree_control") == "+pids");  // the last of three writes
  REQUIRE(
      tree->set_limits("skiff/a", {.cpu_shares = 1024, .cpu_quota_us = -1, .memory_bytes = 8192, .pids = 20})
          .ok());
  CHECK(fake.text("skiff/a/cpu.weight") == "100");
  CHECK(fake.text("skiff/a/cpu.max") == "max 100000");
  CHECK(fake.text("skiff/a/memory.max") == "8192");
  CHECK(fake.text("skiff/a/pids.max") == "20");
  fake.file("skiff/a/cpu.stat", "usage_usec 5\nuser_usec 3\n");
  fake.file("skiff/a/memory.current", "100\n");
  fake.file("skiff/a/memory.stat", "anon 1\ninactive_file 300\n");
  fake.file("skiff/a/memory.events", "low 0\noom 2\noom_kill 1\n");
  CgroupUsage usage = tree->usage("skiff/a").value();
  CHECK(usage.cpu_ns == 5000);
  CHECK(usage.working_set_bytes == 0);
  CHECK(tree->oom_kills("skiff/a") == 1);
}

TEST_CASE("a real group is entered, killed and removed with what is below it") {
  if (::geteuid() != 0) {
    std::cout << "skipped: cgroups need root\n";
    return;
  }
  auto tree = std::move(CgroupTree::detect()).value();
  SystemClock clock;
  std::string group = fmt::format("skiff-test-{}", ::getpid());
  REQUIRE(tree->remove(group, clock).ok());  // nothing there: fine
  REQUIRE(tree->create(group + "/inner").ok());
  pid_t pid =
      launch({.program = "/bin/sleep", .arguments = {"sleep", "1000"}, .environment = {}, .inherit = {}})
          .value();
  REQUIRE(tree->add(group + "/inner", pid).ok());
  REQUIRE(tree->kill_all(group).ok());
  CHECK(reap(pid).value() == 128 + 9);
  REQUIRE(tree->remove(group, clock).ok());
  CHECK_FALSE(tree->exists(group));
}

}  // namespace skiff::sys
