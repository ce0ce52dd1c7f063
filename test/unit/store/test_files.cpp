// What a store in a file promises beyond the contract: restarts, crashes, full disks, wrong files.

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <thread>

#include "store/database.hpp"
#include "support.hpp"

namespace skiff::store::test {
namespace {

namespace fs = std::filesystem;

Options file(const std::string& path) {
  Options options;
  options.path = path;
  return options;
}

std::string refusal(const Options& options) {
  auto store = Store::open(options);
  return store.ok() ? "opened" : store.error().message();
}

void run_sql(const std::string& path, const char* sql) {
  auto database = Database::open(path, false);
  REQUIRE(database.ok());
  REQUIRE(database.value()->execute(sql).ok());
}

}  // namespace

TEST_CASE("a restart keeps records, history and the counter") {
  TempDirectory directory;
  Options options = file(directory / "state.db");
  {
    auto store = open(options);
    Write first = create("/a", R"({"rv":""})");
    first.revision_at = 7;
    must(*store, first);
    first.kind = Write::Kind::Update;
    must(*store, first);
    must(*store, create("/b", "b"));
    must(*store, remove("/b"));
  }
  auto store = open(options);
  CHECK(store->revision() == 4);
  CHECK(text(store->list("/").value().items) == Lines{R"(/a={"rv":"2"}@2)"});
  CHECK(text(store->list("/", {.at_revision = 1}).value().items) == Lines{R"(/a={"rv":"1"}@1)"});
  Collector sink;
  auto watch = store->watch("/", 0, sink).value();
  CHECK(sink.lines(4) ==
        Lines{R"(+/a={"rv":"1"}@1)", R"(+/a={"rv":"2"}@2 was {"rv":"1"})", "+/b=b@3", "-/b=b@4 was b"});
  CHECK(must(*store, remove("/a"))->value == R"({"rv":"5"})");
}

TEST_CASE("memory-only versions vanish with a restart, their revisions do not return") {
  TempDirectory directory;
  Options options = file(directory / "state.db");
  Revision last = 0;
  {
    auto store = open(options);
    must(*store, create("/nodes/n", "durable"));
    must(*store, in_memory(create("/leases/l", "1")));
    must(*store, in_memory(update("/leases/l", "2")));
    must(*store, in_memory(update("/nodes/n", "heartbeat")));
    CHECK(store->get("/nodes/n").value()->value == "heartbeat");
    last = store->revision();
    CHECK(last == 4);
  }
  auto store = open(options);
  CHECK(store->revision() == last);
  CHECK(store->get("/leases/l").error().code() == Code::NotFound);
  CHECK(text(store->list("/nodes/").value().items) == Lines{"/nodes/n=durable@1"});
  Collector sink;
  CHECK(store->watch("/leases/", 2, sink).error().code() == Code::Gone);  // it cannot tell what was lost
  CHECK(store->watch("/", 3, sink).error().code() == Code::Gone);
  CHECK(store->watch("/pods/", 3, sink).ok());
  CHECK(store->watch("/leases/", last, sink).ok());
}

TEST_CASE("a durable write over memory-only versions supersedes the durable one") {
  TempDirectory directory;
  Options options = file(directory / "state.db");
  options.recent_events = 1;
  {
    auto store = open(options);
    must(*store, create("/n/a", "v1"));
    must(*store, in_memory(update("/n/a", "beat")));
    must(*store, update("/n/a", "v3"));
    CHECK(text(store->list("/", {.at_revision = 1}).value().items) == Lines{"/n/a=v1@1"});
    must(*store, in_memory(update("/n/a", "beat")));
    must(*store, remove("/n/a"));  // removes what is on disk too
    must(*store, in_memory(create("/n/b", "beat")));
    must(*store, remove("/n/b"));  // nothing of it is on disk
    must(*store, in_memory(create("/n/c", "beat")));
    must(*store, update("/n/c", "kept"));  // the first durable version
  }
  auto store = open(options);
  CHECK(text(store->list("/").value().items) == Lines{"/n/c=kept@9"});
}

TEST_CASE("idle and memory-only use writes nothing to disk") {
  TempDirectory directory;
  auto store = open(file(directory / "state.db"));
  must(*store, in_memory(create("/leases/l", "1")));  // reserves revisions: one write
  auto size = fs::file_size(directory / "state.db-wal");
  auto time = fs::last_write_time(directory / "state.db-wal");
  for (int i = 0; i < 1000; ++i) must(*store, in_memory(update("/leases/l", std::to_string(i))));
  CHECK(fs::file_size(directory / "state.db-wal") == size);
  CHECK(fs::last_write_time(directory / "state.db-wal") == time);
}

TEST_CASE("history stays within its budget; older revisions are Gone") {
  TempDirectory directory;
  Options options = file(directory / "state.db");
  options.history_bytes = 100'000;
  options.recent_events = 10;
  {
    auto store = open(options);
    must(*store, create("/a", std::string(1000, 'x')));
    for (int i = 0; i < 500; ++i) must(*store, update("/a", std::string(1000, 'x')));
    CHECK(store->compacted() > 400);
    CHECK(store->compacted() < 440);  // three quarters of the budget stay
    CHECK(store->list("/", {.at_revision = store->compacted()}).ok());
    CHECK(store->list("/", {.at_revision = store->compacted() - 1}).error().code() == Code::Gone);
    Collector sink;
    CHECK(store->watch("/", store->compacted(), sink).ok());
    CHECK(sink.lines(1).size() == static_cast<size_t>(501 - store->compacted()));
    CHECK(store->watch("/", store->compacted() - 1, sink).error().code() == Code::Gone);
  }
  auto store = open(options);
  CHECK(store->compacted() > 400);  // and the budget is still known
  Revision before = store->compacted();
  for (int i = 0; i < 100; ++i) must(*store, update("/a", std::string(1000, 'x')));
  CHECK(store->compacted() > before);
}

TEST_CASE("the counter survives when everything it counted is gone") {
  TempDirectory directory;
  Options options = file(directory / "state.db");
  {
    auto store = open(options);
    must(*store, create("/a"));
    must(*store, remove("/a"));
    REQUIRE(store->compact(2).ok());
  }
  CHECK(open(options)->revision() == 2);
}

TEST_CASE("a wrong file is refused by name and stays as it was") {
  TempDirectory directory;
  std::string path = directory / "state.db";
  SECTION("of a newer skiff") {
    open(file(path));
    run_sql(path, "PRAGMA user_version = 7");
    CHECK(refusal(file(path)) ==
          fmt::format("store '{}' has format 7, but this skiff knows formats up to 1: it was "
                      "written by a newer skiff; use that one",
                      path));
  }
  SECTION("of another program") {
    run_sql(path, "CREATE TABLE t (x)");
    CHECK(refusal(file(path)) == fmt::format("store '{}' is a database of another program", path));
  }
  SECTION("not a database") {
    std::ofstream(path) << std::string(10'000, 'x');
    CHECK(refusal(file(path)).find("file is not a database") != std::string::npos);
    CHECK(refusal(file(path)).find(path) != std::string::npos);
  }
  SECTION("in a directory that does not exist") {
    CHECK(refusal(file(directory / "no/state.db")) ==
          fmt::format("store '{0}/no/state.db': open '{0}/no/state.db.lock': No such file or directory",
                      directory.path()));
  }
  SECTION("in use") {
    auto store = open(file(path));
    CHECK(refusal(file(path)) ==
          fmt::format("store '{}': in use by another process (pid {})", path, ::getpid()));
  }
}

TEST_CASE("the file is private") {
  TempDirectory directory;
  auto store = open(file(directory / "state.db"));
  must(*store, create("/secret"));
  for (const char* name : {"state.db", "state.db-wal"})
    CHECK((fs::status(directory / name).permissions() & fs::perms(0077)) == fs::perms::none);
}

TEST_CASE("a log that was cut off anywhere recovers to a state that once was") {
  TempDirectory directory;
  auto store = open(file(directory / "state.db"));
  for (int i = 0; i < 40; ++i) must(*store, create(fmt::format("/p/{:02}", i), std::string(3000, 'x')));
  size_t size = fs::file_size(directory / "state.db-wal");
  size_t most = 0;
  for (int cut = 0; cut <= 60; ++cut) {
    fs::copy_file(directory / "state.db", directory / "copy.db", fs::copy_options::overwrite_existing);
    fs::copy_file(directory / "state.db-wal", directory / "copy.db-wal",
                  fs::copy_options::overwrite_existing);
    fs::remove(directory / "copy.db-shm");
    fs::resize_file(directory / "copy.db-wal", size * static_cast<size_t>(cut) / 60);
    if (cut % 3 == 1) std::ofstream(directory / "copy.db-wal", std::ios::app) << std::string(777, '\x5a');
    INFO("cut " << cut);
    auto copy = open(file(directory / "copy.db"));
    std::vector<RecordRef> items = copy->list("/p/").value().items;
    CHECK(items.size() >= most);
    most = items.size();
    CHECK(copy->revision() == static_cast<Revision>(items.size()));
    for (size_t i = 0; i < items.size(); ++i) REQUIRE(items[i]->key == fmt::format("/p/{:02}", i));
    must(*copy, create("/p/more"));
  }
  CHECK(most == 40);
}

namespace {

// In a child process: writes from four threads and reports each acknowledged write on `out`, until killed.
[[noreturn]] void write_until_killed(const std::string& path, int out) {
  auto store = Store::open(file(path));
  if (!store.ok()) ::_exit(1);
  auto work = [&](int thread) {
    for (int i = 0;; ++i) {
      std::string key = fmt::format("/t{}/{}", thread, i % 50);
      Write write = i < 50 ? create(key, std::to_string(i)) : update(key, std::to_string(i));
      if (i % 7 == 3 && i >= 50) write = in_memory(write);
      auto written = store.value()->write(write);
      if (!written.ok()) ::_exit(2);
      std::string line =
          fmt::format("{} {} {} {}\n", key, i, written.value()->modified, written.value()->durable ? 1 : 0);
      if (::write(out, line.data(), line.size()) < 0) ::_exit(3);  // under PIPE_BUF: lines do not mix
    }
  };
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 4; ++thread) threads.emplace_back(work, thread);
  threads.clear();  // joins, so never returns
  ::_exit(4);
}

// Runs the child until `lines` acknowledgements have come; all that came until it was dead.
std::string acknowledged(const std::string& path, size_t lines) {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  pid_t child = ::fork();
  if (child == 0) write_until_killed(path, ends[1]);
  REQUIRE(child > 0);
  ::close(ends[1]);
  std::string got;
  char buffer[4096];
  bool killed = false;
  while (true) {
    ssize_t size = ::read(ends[0], buffer, sizeof buffer);
    if (size <= 0) break;
    got.append(buffer, static_cast<size_t>(size));
    if (!killed && static_cast<size_t>(std::count(got.begin(), got.end(), '\n')) >= lines) {
      ::kill(child, SIGKILL);
      killed = true;
    }
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  REQUIRE(WIFSIGNALED(status));
  return got;
}

}  // namespace

TEST_CASE("after kill -9 every acknowledged write is there") {
  TempDirectory directory;
  std::string path = directory / "state.db";
  for (size_t lines : {size_t{250}, size_t{400}, size_t{900}}) {
    fs::remove(path);
    fs::remove(path + "-wal");
    fs::remove(path + "-shm");
    std::istringstream got(acknowledged(path, lines));
    std::map<std::string, std::pair<std::string, Revision>> want;
    Revision highest = 0;
    for (std::string line; std::getline(got, line) && !got.eof();) {
      std::istringstream fields(line);
      std::string key, value;
      Revision revision = 0;
      int durable = 0;
      fields >> key >> value >> revision >> durable;
      if (durable == 1) want[key] = {value, revision};
      highest = std::max(highest, revision);
    }
    auto store = open(file(path));
    CHECK(store->revision() >= highest);
    for (const auto& [key, last] : want) {
      INFO(key);
      RecordRef record = store->get(key).value();
      CHECK(record->modified >= last.second);  // a later one may have been on disk, but not yet acknowledged
      CHECK(std::stoi(record->value) >= std::stoi(last.first));
    }
    CHECK(must(*store, create("/new"))->modified > highest);
  }
}

namespace {

// A file system of one megabyte, in a mount namespace of this process, so that nothing can be left behind.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& path) : path_(path) {
    mounted_ = ::unshare(CLONE_NEWNS) == 0 &&
               ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
               ::mount("tmpfs", path.c_str(), "tmpfs", 0, "size=1m") == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }

 private:
  std::string path_;
  bool mounted_ = false;
};

}  // namespace

TEST_CASE("a full disk refuses writes, and the store goes on when there is room again") {
  TempDirectory directory;
  SmallDisk disk(directory.path());
  if (!disk.mounted()) {
    std::cout << "skipped: mounting a small tmpfs: " << std::strerror(errno) << "\n";
    return;
  }
  Options options = file(directory / "state.db");
  auto store = open(options);
  must(*store, create("/a", "small"));
  must(*store, in_memory(create("/leases/l", "1")));
  std::ofstream(directory / "ballast") << std::string(200'000, 'x');
  std::optional<Error> refused;
  int written = 0;
  while (!refused && written < 1000) {
    auto result = store->write(create(fmt::format("/p/{}", written), std::string(20'000, 'x')));
    if (result.ok())
      ++written;
    else
      refused = result.error();
  }
  REQUIRE(refused);
  CHECK(refused->code() == Code::Unavailable);
  CHECK(refused->message() ==
        fmt::format("store '{}': database or disk is full: No space left on device", options.path));
  Revision last = store->revision();
  CHECK(store->get(fmt::format("/p/{}", written)).error().code() == Code::NotFound);
  CHECK(store->get("/a").ok());
  CHECK(must(*store, in_memory(update("/leases/l", "2")))->modified == last + 1);  // needs no disk

  fs::remove(directory / "ballast");
  CHECK(must(*store, update("/a", "again"))->modified == last + 2);
  store.reset();
  store = open(options);
  CHECK(store->get("/a").value()->value == "again");
  CHECK(store->count("/p/") == static_cast<size_t>(written));
}

}  // namespace skiff::store::test
