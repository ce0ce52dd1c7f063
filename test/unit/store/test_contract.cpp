// What every store promises, over each kind of store.

#include <thread>

#include "support.hpp"

namespace skiff::store::test {
namespace {

// Runs the story on a store in memory and on one in a file.
struct Kinds {
  TempDirectory directory;
  Options options;
  explicit Kinds(bool file) { options.path = file ? directory / "state.db" : ":memory:"; }
};

}  // namespace

TEST_CASE("writes take consecutive revisions and reads see them") {
  Kinds kinds(GENERATE(false, true));
  auto store = open(kinds.options);
  CHECK(store->revision() == 0);
  RecordRef a = must(*store, create("/a", "one"));
  CHECK(a->created == 1);
  CHECK(a->modified == 1);
  RecordRef b = must(*store, update("/a", "two", 1));
  CHECK(b->created == 1);
  CHECK(b->modified == 2);
  CHECK(store->get("/a").value()->value == "two");
  CHECK(store->revision() == 2);
  RecordRef gone = must(*store, remove("/a", 2));
  CHECK(gone->value == "two");
  CHECK(gone->modified == 3);
  CHECK(store->get("/a").error().code() == Code::NotFound);
  CHECK(must(*store, create("/a", "again"))->created == 4);
}

TEST_CASE("a refused write changes nothing and takes no revision") {
  Kinds kinds(GENERATE(false, true));
  auto store = open(kinds.options);
  must(*store, create("/a", "one"));
  struct Row {
    const char* name;
    Write write;
    Code code;
  };
  for (Row& row : std::vector<Row>{{"create of what is there", create("/a"), Code::AlreadyExists},
                                   {"update of nothing", update("/b", "x"), Code::NotFound},
                                   {"delete of nothing", remove("/b"), Code::NotFound},
                                   {"update with an old revision", update("/a", "x", 7), Code::Conflict},
                                   {"delete with an old revision", remove("/a", 7), Code::Conflict}}) {
    INFO(row.name);
    CHECK(store->write(row.write).error().code() == row.code);
  }
  CHECK(store->revision() == 1);
  CHECK(store->get("/a").value()->value == "one");
}

TEST_CASE("the revision is spliced into the value") {
  Kinds kinds(GENERATE(false, true));
  auto store = open(kinds.options);
  Write first = create("/a", R"({"rv":"","x":1})");
  first.revision_at = 7;
  for (int i = 0; i < 8; ++i) must(*store, create(fmt::format("/fill/{}", i)));
  CHECK(must(*store, first)->value == R"({"rv":"9","x":1})");
  RecordRef gone = must(*store, remove("/a"));
  CHECK(gone->value == R"({"rv":"10","x":1})");  // one digit more

  Write bad = create("/b", "short");
  bad.revision_at = 6;
  CHECK(store->write(bad).error().code() == Code::Internal);
}

namespace {

// Uses the view of each record that it is told of, as an informer does.
struct ViewKeeper final : WatchSink {
  void on_events(std::span<const EventRef> events) override {
    for (const EventRef& event : events) views.push_back(event->record->view());
  }
  void on_closed(const Error&) override {}
  std::vector<std::shared_ptr<const void>> views;
};

}  // namespace

TEST_CASE("a view is built once, before anyone sees the record, and lives while it is used") {
  auto store = open({});
  ViewKeeper keeper;
  auto watch = store->watch("", 0, keeper).value();
  Write write = create("/a", "one");
  write.view = [](Revision revision) {
    return std::make_shared<const std::string>(fmt::format("at {}", revision));
  };
  RecordRef record = must(*store, write);
  must(*store, create("/b"));  // the first batch has been delivered
  REQUIRE(keeper.views.size() >= 1);
  auto view = std::static_pointer_cast<const std::string>(record->view());
  REQUIRE(view);
  CHECK(*view == "at 1");
  auto kept = record->set_view(std::make_shared<const std::string>("later"));  // the first one stays
  CHECK(kept == view);
  kept = view = nullptr;
  watch.reset();
  keeper.views.clear();
  CHECK_FALSE(record->view());
  auto again = record->set_view(std::make_shared<const std::string>("anew"));
  CHECK(record->view() == again);
}

TEST_CASE("list: order, prefix, pages and the number that remains") {
  Kinds kinds(GENERATE(false, true));
  auto store = open(kinds.options);
  for (const char* key : {"/p/b", "/q/x", "/p/a", "/p/c", "/o/z", "/p/d"}) must(*store, create(key));
  Page page = store->list("/p/", {.limit = 3}).value();
  CHECK(text(page.items) == Lines{"/p/a=v@3", "/p/b=v@1", "/p/c=v@4"});
  CHECK(page.more);
  CHECK(page.remaining == 1);
  CHECK(page.revision == 6);
  page = store->list("/p/", {.limit = 3, .after_key = "/p/c", .at_revision = page.revision}).value();
  CHECK(text(page.items) == Lines{"/p/d=v@6"});
  CHECK_FALSE(page.more);
  CHECK(page.remaining == 0);
  CHECK(store->list("/p/", {.after_key = "/q/"}).value().items.empty());
  CHECK(store->list("/nothing/").value().items.empty());
  CHECK(store->list("").value().items.size() == 6);
  CHECK(store->count("/p/") == 4);
}

TEST_CASE("list with a filter fills its pages and knows whether more follows") {
  auto store = open({});
  for (int i = 0; i < 1000; ++i)
    must(*store, create(fmt::format("/p/{:04}", i), i % 100 == 7 ? "hit" : "miss"));
  ListOptions options{.limit = 4, .wanted = [](const Record& record) { return record.value == "hit"; }};
  Page first = store->list("/p/", options).value();
  CHECK(first.items.size() == 4);
  CHECK(first.items[3]->key == "/p/0307");
  CHECK(first.more);
  CHECK_FALSE(first.remaining);
  options.after_key = "/p/0607";
  Page last = store->list("/p/", options).value();
  CHECK(last.items.size() == 3);
  CHECK_FALSE(last.more);
}

TEST_CASE("pages at one revision do not move while writes go on") {
  Kinds kinds(GENERATE(false, true));
  kinds.options.recent_events = GENERATE(size_t{2}, size_t{1000});  // from the history, from memory
  auto store = open(kinds.options);
  for (int i = 0; i < 10; ++i) must(*store, create(fmt::format("/p/{}", i), "old"));
  Page page = store->list("/p/", {.limit = 4}).value();
  Revision at = page.revision;
  Lines all = text(page.items);
  int step = 0;
  while (page.more) {
    must(*store, update("/p/5", fmt::format("new{}", step)));
    must(*store, create(fmt::format("/p/5{}", step)));
    if (step == 0) must(*store, remove("/p/8"));
    if (step == 0) must(*store, create("/p/8", "reborn"));
    if (step == 0) must(*store, remove("/p/9"));
    ++step;
    page = store->list("/p/", {.limit = 4, .after_key = page.items.back()->key, .at_revision = at}).value();
    CHECK(page.revision == at);
    for (std::string& line : text(page.items)) all.push_back(std::move(line));
  }
  Lines want;
  for (int i = 0; i < 10; ++i) want.push_back(fmt::format("/p/{}=old@{}", i, i + 1));
  CHECK(all == want);
  CHECK(step == 2);
}

TEST_CASE("every past state can be listed until it is compacted") {
  Kinds kinds(GENERATE(false, true));
  kinds.options.recent_events = GENERATE(size_t{3}, size_t{1000});
  auto store = open(kinds.options);
  std::vector<Lines> states{{}};
  auto step = [&](Write write) {
    must(*store, std::move(write));
    states.push_back(text(store->list("/").value().items));
  };
  step(create("/a", "a1"));
  step(create("/b", "b1"));
  step(update("/a", "a2"));
  step(remove("/b"));
  step(create("/b", "b2"));
  step(update("/b", "b3"));
  step(remove("/a"));
  step(create("/c", "c1"));
  for (size_t at = 0; at < states.size(); ++at) {
    INFO("at " << at);
    Page page = store->list("/", {.at_revision = static_cast<Revision>(at)}).value();
    CHECK(text(page.items) == states[at]);
    CHECK(page.revision == static_cast<Revision>(at));
  }
  CHECK(store->list("/", {.at_revision = 9}).error().code() == Code::Timeout);

  REQUIRE(store->compact(5).ok());
  CHECK(store->compacted() == 5);
  CHECK(store->compact(4).error().code() == Code::Gone);
  if (kinds.options.recent_events == 3) {
    CHECK(store->list("/", {.at_revision = 4}).error().code() == Code::Gone);
    Collector sink;
    CHECK(store->watch("/", 4, sink).error().code() == Code::Gone);
  }
  CHECK(text(store->list("/", {.at_revision = 5}).value().items) == states[5]);
}

namespace {

// A write is acknowledged before it counts as delivered.
bool reaches(const Watch& watch, Revision wanted) {
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (watch.progress() != wanted && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  return watch.progress() == wanted;
}

}  // namespace

TEST_CASE("a watch gets what follows a revision, from memory, from history and live") {
  Kinds kinds(GENERATE(false, true));
  kinds.options.recent_events = GENERATE(size_t{2}, size_t{1000});
  auto store = open(kinds.options);
  Lines all{"+/p/a=1@1", "+/p/b=1@3", "+/p/a=2@4 was 1", "-/p/b=1@5 was 1", "+/p/b=2@6", "+/p/a=3@7 was 2"};
  must(*store, create("/p/a", "1"));
  must(*store, create("/q/a", "1"));
  must(*store, create("/p/b", "1"));
  must(*store, update("/p/a", "2"));
  must(*store, remove("/p/b"));
  must(*store, create("/p/b", "2"));
  must(*store, update("/p/a", "3"));
  Collector live;
  auto live_watch = store->watch("/p/", 7, live).value();
  for (Revision after = 0; after <= 7; ++after) {
    INFO("after " << after);
    Lines want;
    for (const std::string& line : all)
      if (std::stoll(line.substr(line.find('@') + 1)) > after) want.push_back(line);
    Collector sink;
    auto watch = store->watch("/p/", after, sink).value();
    CHECK(sink.lines(want.size()) == want);
    CHECK(reaches(*watch, 7));
  }
  must(*store, create("/q/b"));
  must(*store, create("/p/c", "1"));
  CHECK(live.lines(1) == Lines{"+/p/c=1@9"});
  store.reset();
  CHECK(live.closed() == Code::Unavailable);
  CHECK(live_watch->progress() == 9);  // may outlive its store
}

TEST_CASE("watches of nested prefixes, of one key and of everything") {
  auto store = open({});
  Collector everything, pods, space, one, later;
  auto w1 = store->watch("", 0, everything).value();
  auto w2 = store->watch("/pods/", 0, pods).value();
  auto w3 = store->watch("/pods/x/", 0, space).value();
  auto w4 = store->watch("/pods/x/a", 0, one).value();
  auto w5 = store->watch("/pods/", 3, later).value();
  for (const char* key : {"/pods/x/a", "/pods/y/a", "/nodes/n", "/pods/x/ab", "/pods/x"})
    must(*store, create(key));
  CHECK(everything.lines(5).size() == 5);
  CHECK(pods.lines(4) == Lines{"+/pods/x/a=v@1", "+/pods/y/a=v@2", "+/pods/x/ab=v@4", "+/pods/x=v@5"});
  CHECK(space.lines(2) == Lines{"+/pods/x/a=v@1", "+/pods/x/ab=v@4"});
  CHECK(one.lines(2) == Lines{"+/pods/x/a=v@1", "+/pods/x/ab=v@4"});
  CHECK(later.lines(2) == Lines{"+/pods/x/ab=v@4", "+/pods/x=v@5"});
  w2.reset();
  w5.reset();
  must(*store, create("/pods/z"));
  CHECK(everything.lines(6).size() == 6);
  CHECK(pods.lines(4).size() == 4);
}

TEST_CASE("progress moves without events of the prefix") {
  auto store = open({});
  Collector sink, other;
  auto watch = store->watch("/p/", 0, sink).value();
  auto witness = store->watch("/q/", 0, other).value();
  must(*store, create("/q/a"));
  must(*store, create("/q/b"));
  auto barrier = store->pull("/q/", 0).value();  // delivery of revision 2 may still be under way
  other.lines(2);
  must(*store, create("/q/c"));
  CHECK(watch->progress() >= 2);
  CHECK(sink.lines(0).empty());
}

TEST_CASE("a slow reader ends with Gone and does not hold up the store") {
  auto store = open({});
  auto slow = store->pull("/p/", 0, 10).value();
  auto quick = store->pull("/p/", 0, 1000).value();
  for (int i = 0; i < 11; ++i) must(*store, create(fmt::format("/p/{}", i)));
  SystemClock clock;
  size_t seen = 0;
  while (seen < 11) seen += take(*quick).size();
  CHECK(slow->take(clock, {}).error().code() == Code::Gone);
  CHECK(seen == 11);

  std::stop_source stop;
  stop.request_stop();
  CHECK(quick->take(clock, stop.get_token()).error().code() == Code::Canceled);
  CHECK(quick->take(clock, {}, clock.now()).value().empty());
}

TEST_CASE("a closing store wakes its readers") {
  auto store = open({});
  auto watch = store->pull("/p/", 0).value();
  SystemClock clock;
  std::optional<Code> code;
  std::jthread reader([&] { code = watch->take(clock, {}, clock.now() + 20s).error().code(); });
  store.reset();
  reader.join();
  CHECK(code == Code::Unavailable);
}

TEST_CASE("sixteen writers share commits; each change is seen once, in order") {
  Kinds kinds(GENERATE(false, true));
  auto store = open(kinds.options);
  constexpr int kThreads = 16, kEach = 50;
  auto watch = store->pull("/", 0, 100'000).value();
  must(*store, create("/counter", "0"));
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < kEach; ++i) {
          must(*store, create(fmt::format("/t{}/{}", t, i)));
          while (true) {  // compare and swap: no increment may be lost
            RecordRef now = store->get("/counter").value();
            auto added =
                store->write(update("/counter", std::to_string(std::stoi(now->value) + 1), now->modified));
            if (added.ok()) break;
          }
        }
      });
  }
  CHECK(store->get("/counter").value()->value == std::to_string(kThreads * kEach));
  CHECK(store->count("/t") == kThreads * kEach);
  CHECK(store->revision() == 1 + 2 * kThreads * kEach);
  Revision last = 0;
  while (last < store->revision())
    for (const EventRef& event : take(*watch)) REQUIRE(event->revision == ++last);
}

TEST_CASE("watches that begin while writes go on miss nothing and repeat nothing") {
  Kinds kinds(GENERATE(false, true));
  kinds.options.recent_events = 500;  // the earlier ones come from the history
  auto store = open(kinds.options);
  constexpr int kWrites = 2000;
  std::jthread writer([&] {
    must(*store, create("/p/x", "0"));
    for (int i = 1; i < kWrites; ++i) must(*store, update("/p/x", std::to_string(i)));
  });
  for (int round = 0; round < 10; ++round) {
    Revision from = store->revision() / 2;
    auto watch = store->pull("/p/", from, 100'000).value();
    Revision last = from;
    while (last < from + kWrites / 20 && last < kWrites)
      for (const EventRef& event : take(*watch)) REQUIRE(event->revision == ++last);
  }
}

}  // namespace skiff::store::test
