// What is measured, and how rates come out of counters.

#include "kubelet/disk_usage.hpp"
#include "kubelet/grpc_check.hpp"
#include "kubelet/http_check.hpp"
#include "test_kubelet.hpp"

namespace skiff::kubelet {
namespace {

WallTime at(std::int64_t seconds) { return WallTime(std::chrono::seconds(seconds)); }

}  // namespace

TEST_CASE("cpu is a rate over about a window, from what earlier questions left") {
  CpuMeter meter;
  constexpr std::uint64_t second = 1'000'000'000;
  SECTION("a young container counts from its start") {
    CpuRate rate = meter.add("c", {at(102), second}, at(100));
    CHECK(rate.window == 2s);
    CHECK(rate.nanocores == second / 2);
    // Soon after: still from the start, as no window has passed.
    CHECK(meter.add("c", {at(104), 2 * second}, at(100)).window == 4s);
  }
  SECTION("an old one needs two readings") {
    CHECK(meter.add("c", {at(1000), 500 * second}, at(100)).window == Duration::zero());
    CHECK(meter.add("c", {at(1001), 501 * second}, at(100)).nanocores == second);
    CpuRate later = meter.add("c", {at(1015), 501 * second}, at(100));
    CHECK(later.window == 15s);
    CHECK(later.nanocores == second / 15);
    // Asked again at once: the same window goes on.
    CHECK(meter.add("c", {at(1016), 501 * second}, at(100)).window == 16s);
  }
  SECTION("a reading from long ago is no base") {
    CHECK(meter.stale("c", at(1000)));
    meter.add("c", {at(1000), second}, {});
    CHECK_FALSE(meter.stale("c", at(1059)));
    CHECK(meter.stale("c", at(1061)));
    CHECK(meter.add("c", {at(1061), second}, {}).window == Duration::zero());
  }
  SECTION("a counter that fell says nothing") {
    meter.add("c", {at(1000), 5 * second}, {});
    CHECK(meter.add("c", {at(1020), second}, {}).window == Duration::zero());
  }
  SECTION("groups that went are forgotten") {
    meter.add("c", {at(1000), second}, {});
    meter.keep_only({});
    CHECK(meter.stale("c", at(1001)));
  }
}

TEST_CASE("interfaces of a network") {
  auto found = parse_interfaces(
      "Inter-|   Receive                                                |  Transmit\n"
      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls\n"
      "    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0 0 0\n"
      "  eth0:    2000      20    3    0    0     0          0         0     4000      40    5    0    0     0 0 0\n");
  REQUIRE(found);
  CHECK(found->interface == "eth0");
  CHECK(found->received_bytes == 2000);
  CHECK(found->received_errors == 3);
  CHECK(found->sent_bytes == 4000);
  CHECK(found->sent_errors == 5);
  CHECK_FALSE(parse_interfaces("nothing here\n"));
}

TEST_CASE("what directories take") {
  char name[] = "/tmp/skiff-usage-XXXXXX";
  std::string directory = ::mkdtemp(name);
  REQUIRE(sys::make_directories(directory + "/a/b").ok());
  REQUIRE(sys::write_file(directory + "/a/file", std::string(100'000, 'x')).ok());
  REQUIRE(sys::symlink("/", directory + "/a/everything").ok());
  DiskUsage usage = disk_usage(directory);
  CHECK(usage.inodes == 5);
  CHECK(usage.bytes >= 100'000);
  CHECK(usage.bytes < 1'000'000);
  CHECK(directory_usage(directory).capacity_bytes > 0);
  CHECK(disk_usage(directory + "/none").inodes == 0);
  REQUIRE(sys::remove_tree(directory).ok());
}

TEST_CASE("a node measures its pods when asked") {
  if (skip_without_root()) return;
  TestKubelet test;
  test.create("while true; do :; done");
  REQUIRE(test.wait_ready());
  client::NodeUsage usage = test.kubelet->access()->usage({.full = true}).value();
  CHECK(usage.name == "node-1");
  REQUIRE(usage.pods.size() == 1);
  REQUIRE(usage.pods[0].containers.size() == 1);
  CHECK(usage.pods[0].key.name == "p");
  CHECK(usage.pods[0].labels.at("app") == "web");
  CHECK(usage.pods[0].network->interface == "eth0");
  CHECK(usage.pods[0].ephemeral->used_bytes > 0);
  const client::ContainerUsage& container = usage.pods[0].containers[0];
  CHECK(container.name == "c");
  CHECK(container.compute.window > Duration::zero());
  CHECK(container.compute.working_set_bytes > 0);
  CHECK(test.cluster.wait_for([&] {
    return test.kubelet->access()->usage({}).value().pods[0].containers[0].compute.cpu_nanocores > 100'000'000;
  }));
}

TEST_CASE("redirects of probes") {
  HttpRequest request{{"10.0.0.1", 8080}, false, "/redirect", {}};
  CHECK(follow(request, "/healthz")->path == "/healthz");
  CHECK(follow(request, "/healthz")->address.port == 8080);
  std::optional<HttpRequest> secure = follow(request, "https://10.0.0.1:8443/ok");
  REQUIRE(secure);
  CHECK(secure->tls);
  CHECK(secure->address.port == 8443);
  CHECK(secure->path == "/ok");
  CHECK(follow(request, "http://10.0.0.1")->address.port == 80);
  CHECK_FALSE(follow(request, "http://0.0.0.0/"));
  CHECK(parse_answer("HTTP/1.1 302 Found\r\nlocation: /there\r\n\r\n").value().location == "/there");
}

TEST_CASE("answers of gRPC's health service") {
  using namespace std::string_literals;
  CHECK(health_in("\0\0\0\0\2\x08\x01"s) == "SERVING");
  CHECK(health_in("\0\0\0\0\2\x08\x02"s) == "NOT_SERVING");
  CHECK(health_in("\0\0\0\0\0"s) == "UNKNOWN");
  CHECK(health_in("\0\0\0\0\2\x12\x01"s).empty());
  CHECK(health_in("x").empty());
}

}  // namespace skiff::kubelet
