#include "client/work_queue.hpp"

#include <catch2/catch.hpp>

#include <thread>

#include "base/encoding.hpp"
#include "client/kubeconfig.hpp"
#include "support/fake_clock.hpp"

using namespace skiff;
using namespace skiff::client;

namespace {
const ObjectKey kA{"ns", "a"}, kB{"ns", "b"};
}

TEST_CASE("a key is queued once and never handled twice at a time") {
  test::FakeClock clock;
  WorkQueue queue(clock);
  queue.add(kA);
  queue.add(kA);
  queue.add(kB);
  CHECK(queue.size() == 2);
  CHECK(queue.take({}) == kA);
  queue.add(kA);  // changed while being handled
  CHECK(queue.take({}) == kB);
  CHECK(queue.size() == 0);
  queue.done(kA);
  CHECK(queue.take({}) == kA);
}

TEST_CASE("delays and backoff follow the clock") {
  test::FakeClock clock;
  WorkQueue queue(clock);
  queue.add_after(kA, 10s);
  std::optional<ObjectKey> got;
  std::jthread taker([&](std::stop_token stop) { got = queue.take(stop); });
  clock.wait_for_waiters(1);
  clock.advance(10s);
  taker.join();
  CHECK(got == kA);
  queue.retry(kA);
  queue.done(kA);
  std::jthread again([&](std::stop_token stop) { got = queue.take(stop); });
  clock.wait_for_waiters(1);
  clock.advance(5ms);
  again.join();
  CHECK(got == kA);
}

TEST_CASE("a stopped take returns nothing") {
  test::FakeClock clock;
  WorkQueue queue(clock);
  std::stop_source stop;
  stop.request_stop();
  CHECK_FALSE(queue.take(stop.get_token()));
}

TEST_CASE("kubeconfig entries are merged and taken out again") {
  KubeconfigEntry entry{"skiff", "https://127.0.0.1:6443", "CA", "CERT", "KEY"};
  std::string mine = "apiVersion: v1\nkind: Config\ncurrent-context: other\nclusters:\n- name: other\n  cluster: {server: x}\n";
  std::string merged = merge_kubeconfig(mine, entry).value();
  CHECK(merged.find("name: other") != std::string::npos);
  CHECK(read_kubeconfig(merged).value().key == "KEY");
  CHECK(read_kubeconfig(merged).value().server == entry.server);
  CHECK(merge_kubeconfig(merged, entry).value() == merged);
  // Renewal changes the credentials of this cluster alone, and nobody's current context.
  KubeconfigEntry renewed = entry, foreign = entry;
  renewed.certificate = "new";
  foreign.authority = "another cluster of that name";
  std::string elsewhere = merge_kubeconfig(merged, {"other", "https://o", "a", "c", "k"}).value();
  std::string after = renewed_kubeconfig(elsewhere, renewed).value();
  CHECK(after.find(base64_encode("new")) != after.npos);
  CHECK(after.find("current-context: other") != after.npos);
  CHECK(renewed_kubeconfig(elsewhere, foreign).value() == elsewhere);
  CHECK(renewed_kubeconfig(mine, renewed).value() == mine);
  std::string without = without_kubeconfig(merged, "skiff").value();
  CHECK(without.find("skiff") == std::string::npos);
  CHECK(without.find("name: other") != std::string::npos);
  CHECK_FALSE(merge_kubeconfig("[1, 2]", entry).ok());
  CHECK_FALSE(merge_kubeconfig("a: [", entry).ok());
}
