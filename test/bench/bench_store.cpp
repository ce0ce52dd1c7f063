// How fast the store is on this machine: durable creates with 1 and 16 writers, reads, lists, watch fan-out.
// Usage: bench_store [DIRECTORY]   (default: the temporary directory; durable writes measure its disk)

#include <fmt/core.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "store/store.hpp"

namespace {

using namespace skiff::store;
using std::chrono::steady_clock;

double seconds_since(steady_clock::time_point start) {
  return std::chrono::duration<double>(steady_clock::now() - start).count();
}

std::string load_average() {
  double load[3] = {};
  if (::getloadavg(load, 3) != 3) return "unknown";
  return fmt::format("{:.2f} {:.2f} {:.2f} on {} cores", load[0], load[1], load[2],
                     std::thread::hardware_concurrency());
}

std::unique_ptr<Store> open(const std::string& path) {
  Options options;
  options.path = path;
  auto store = Store::open(options);
  if (!store.ok()) {
    fmt::print(stderr, "{}\n", store.error().message());
    std::exit(1);
  }
  return std::move(store).value();
}

// `threads` threads write for two seconds; percentiles are of one write() call.
void bench_creates(Store& store, int threads, bool durable) {
  std::vector<std::vector<double>> times(static_cast<size_t>(threads));
  const auto start = steady_clock::now();
  {
    std::vector<std::jthread> running;
    for (int t = 0; t < threads; ++t)
      running.emplace_back([&, t] {
        const std::string value(1024, 'x');
        for (int i = 0; seconds_since(start) < 2; ++i) {
          auto begin = steady_clock::now();
          Write write;
          write.key = fmt::format("/registry/configmaps/{}-{}/{}-{}", durable, threads, t, i);
          write.value = value;
          write.revision_at = 100;
          write.durable = durable;
          if (auto written = store.write(std::move(write)); !written.ok()) {
            fmt::print(stderr, "{}\n", written.error().message());
            std::exit(1);
          }
          times[static_cast<size_t>(t)].push_back(seconds_since(begin) * 1e6);
        }
      });
  }
  double took = seconds_since(start);
  std::vector<double> all;
  for (const auto& one : times) all.insert(all.end(), one.begin(), one.end());
  std::sort(all.begin(), all.end());
  fmt::print("{:<28}{:>10.0f}/s   p50 {:.0f} us   p99 {:.0f} us\n",
             fmt::format("{} creates, {} writer{}", durable ? "durable" : "memory", threads,
                         threads == 1 ? "" : "s"),
             static_cast<double>(all.size()) / took, all[all.size() / 2], all[all.size() * 99 / 100]);
}

void bench_reads(Store& store) {
  constexpr int kGets = 1'000'000, kLists = 200;
  std::vector<std::string> keys;
  Page page = store.list("/registry/configmaps/", {.limit = 5000}).value();
  for (const RecordRef& record : page.items) keys.push_back(record->key);
  auto start = steady_clock::now();
  size_t bytes = 0;
  for (int i = 0; i < kGets; ++i)
    bytes += store.get(keys[static_cast<size_t>(i) * 7919 % keys.size()]).value()->value.size();
  fmt::print("{:<28}{:>10.0f}/s   ({} MB)\n", "gets, 1 reader", kGets / seconds_since(start), bytes >> 20);
  start = steady_clock::now();
  for (int i = 0; i < kLists; ++i)
    bytes += store.list("/registry/configmaps/", {.limit = 5000}).value().items.size();
  fmt::print("{:<28}{:>10.0f}/s   {:.2f} ms each\n", fmt::format("lists of {}", keys.size()),
             kLists / seconds_since(start), seconds_since(start) * 1000 / kLists);
}

struct Counter final : WatchSink {
  void on_events(std::span<const EventRef> events) override { seen += events.size(); }
  void on_closed(const skiff::Error&) override {}
  std::atomic<size_t> seen = 0;
};

void bench_fan_out() {
  constexpr int kWatches = 1000, kWrites = 2000;
  auto store = open(":memory:");
  std::vector<Counter> sinks(kWatches);
  std::vector<std::unique_ptr<Watch>> watches;
  for (Counter& sink : sinks) watches.push_back(store->watch("/pods/", 0, sink).value());
  auto start = steady_clock::now();
  for (int i = 0; i < kWrites; ++i) (void)store->write({.key = fmt::format("/pods/{}", i), .value = "x"});
  while (watches.back()->progress() < kWrites) std::this_thread::yield();
  fmt::print("{:<28}{:>10.0f}/s   ({} watches)\n", "events handed to watches",
             double(kWatches) * kWrites / seconds_since(start), kWatches);
}

}  // namespace

int main(int argc, char** argv) {
  std::string name = fmt::format("{}/bench-store-XXXXXX",
                                 argc > 1 ? argv[1] : std::filesystem::temp_directory_path().string());
  if (::mkdtemp(name.data()) == nullptr) {
    fmt::print(stderr, "mkdtemp '{}' failed\n", name);
    return 1;
  }
  fmt::print("load average {}; values of 1 KiB; directory {}\n", load_average(), name);
  {
    auto store = open(name + "/state.db");
    for (int threads : {1, 16}) bench_creates(*store, threads, true);
    for (int threads : {1, 16}) bench_creates(*store, threads, false);
    bench_reads(*store);
  }
  auto start = steady_clock::now();
  auto store = open(name + "/state.db");
  fmt::print("{:<28}{:>10.1f} ms  ({} records)\n", "reopening", seconds_since(start) * 1000,
             store->count(""));
  store.reset();
  bench_fan_out();
  std::filesystem::remove_all(name);
  fmt::print("load average {}\n", load_average());
}
