// Kills a process that writes, again and again, and holds the store to its promise: what was acknowledged is there,
// what was not is there whole or not at all.
//
//   crash_writes RUNS [SEED]
//
// The child (crash_writes --child DATABASE SEED) writes ConfigMaps through a registry from several threads, each with
// keys of its own, and tells of every write before and after it on its standard output.

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "api/gen/core.hpp"
#include "registry/registry.hpp"
#include "store/store.hpp"
#include "support/fake_clock.hpp"

using namespace skiff;

namespace {

constexpr int kThreads = 8;
constexpr int kKeys = 12;      // of each thread
constexpr int kFields = 10;
constexpr int kDeleted = 0;    // the value of an object that is not there

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "crash_writes: %s\n", why.c_str());
  std::exit(1);
}

/// An object of value `n`: every field tells it, and the size varies with it.
api::ConfigMap object_of(const std::string& name, int n) {
  api::ConfigMap map;
  map.metadata.name = name;
  map.metadata.namespace_ = "default";
  for (int i = 0; i < kFields; ++i) map.data["f" + std::to_string(i)] = std::to_string(n);
  map.data["padding"] = std::string(static_cast<size_t>(n * 37 % 6000), static_cast<char>('a' + n % 26));
  return map;
}

struct World {
  SystemClock clock;
  SystemRandom random;
  std::unique_ptr<store::Store> store;
  std::unique_ptr<registry::Registry> registry;

  explicit World(const std::string& database) {
    Result<std::unique_ptr<store::Store>> opened = store::Store::open({.path = database});
    if (!opened.ok()) die("open: " + opened.error().message());
    store = std::move(opened).value();
    registry = std::make_unique<registry::Registry>(*store, clock, random);
  }
  client::Client& client() { return registry->local_client(); }
};

// ---- the child

// One line is one write(2), so that lines of several threads do not mix.
void tell(char what, const std::string& key, int n) {
  std::string line = fmt::format("{} {} {}\n", what, key, n);
  if (write(STDOUT_FILENO, line.data(), line.size()) < 0) _exit(3);
}

Status write_value(client::Client& client, const std::string& key, bool exists, int n) {
  if (n == kDeleted) return client.remove<api::ConfigMap>({"default", key}).ok() ? ok() : Status(Error(Code::Internal, "remove"));
  if (!exists) return client.create(object_of(key, n)).ok() ? ok() : Status(Error(Code::Internal, "create"));
  api::ConfigMap next = object_of(key, n);
  return client.update(next).ok() ? ok() : Status(Error(Code::Internal, "update"));
}

void write_for_ever(World& world, int thread, std::uint64_t seed) {
  SeededRandom random(seed + static_cast<std::uint64_t>(thread));
  for (;;) {
    std::string key = fmt::format("t{}-{}", thread, random.below(kKeys));
    bool exists = world.client().get<api::ConfigMap>({"default", key}).ok();
    int n = exists && random.below(5) == 0 ? kDeleted : static_cast<int>(random.below(100'000)) + 1;
    tell('i', key, n);
    if (Status written = write_value(world.client(), key, exists, n); !written.ok()) die(written.error().message());
    tell('a', key, n);
  }
}

int child(const std::string& database, std::uint64_t seed) {
  World world(database);
  if (!world.client().get<api::Namespace>({"", "default"}).ok()) {
    api::Namespace ns;
    ns.metadata.name = "default";
    if (!world.client().create(ns).ok()) die("no namespace");
  }
  std::vector<std::jthread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back([&world, i, seed] { write_for_ever(world, i, seed); });
  return 0;
}

// ---- the parent

/// What is known of one key: its last acknowledged value, and one under way when the child died.
struct Known {
  int acknowledged = kDeleted;
  std::optional<int> under_way;
};
using Knowledge = std::map<std::string, Known>;

struct Child {
  pid_t pid = -1;
  int output = -1;
};

Child spawn(const std::string& self, const std::string& database, std::uint64_t seed) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) die("pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::string number = std::to_string(seed), flag = "--child", path = database, program = self;
  char* argv[] = {program.data(), flag.data(), path.data(), number.data(), nullptr};
  Child started;
  if (posix_spawn(&started.pid, self.c_str(), &actions, nullptr, argv, environ) != 0) die("spawn");
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  started.output = ends[0];
  return started;
}

/// Lets the child acknowledge `patience` writes, kills it, and learns from all that it said.
size_t kill_after(const Child& child, size_t patience, Knowledge& known) {
  std::string text;
  char buffer[65536];
  bool killed = false;
  for (ssize_t got; (got = read(child.output, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(got));
    if (!killed && static_cast<size_t>(std::count(text.begin(), text.end(), 'a')) >= patience) {
      kill(child.pid, SIGKILL);
      killed = true;
    }
  }
  close(child.output);
  int status = 0;
  waitpid(child.pid, &status, 0);
  if (!killed || !WIFSIGNALED(status)) die("the child ended by itself");
  size_t acknowledged = 0;
  std::istringstream lines(text);
  std::string key;
  char what = 0;
  int n = 0;
  while (lines >> what >> key >> n) {
    Known& one = known[key];
    if (what == 'i') one.under_way = n;
    if (what == 'a') one = {n, std::nullopt}, ++acknowledged;
  }
  return acknowledged;
}

/// The value of the stored object; dies when its fields do not agree.
int value_of(client::Client& client, const std::string& key) {
  Result<client::Ref<api::ConfigMap>> found = client.get<api::ConfigMap>({"default", key});
  if (!found.ok()) return kDeleted;
  int n = std::atoi(found.value()->data.at("f0").c_str());
  if (found.value()->data != object_of(key, n).data) die(key + " was written by half");
  return n;
}

void check(const std::string& database, Knowledge& known) {
  World world(database);
  for (auto& [key, one] : known) {
    int n = value_of(world.client(), key);
    if (n != one.acknowledged && n != one.under_way)
      die(fmt::format("{} is {}, was acknowledged as {}", key, n, one.acknowledged));
    one = {n, std::nullopt};
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && std::strcmp(argv[1], "--child") == 0) return child(argv[2], std::strtoull(argv[3], nullptr, 10));
  if (argc < 2) die("usage: crash_writes RUNS [SEED]");
  std::string directory = "/tmp/skiff-crash-XXXXXX";
  if (mkdtemp(directory.data()) == nullptr) die("mkdtemp");
  const std::string database = directory + "/store.db";
  SeededRandom random(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
  Knowledge known;
  size_t acknowledged = 0;
  const int runs = std::atoi(argv[1]);
  for (int run = 0; run < runs; ++run) {
    Child writer = spawn("/proc/self/exe", database, random.next());
    acknowledged += kill_after(writer, random.below(400), known);
    check(database, known);
  }
  std::filesystem::remove_all(directory);
  std::printf("%d kills, %zu acknowledged writes: all there, none by half\n", runs, acknowledged);
}
