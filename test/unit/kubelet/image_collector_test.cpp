// When images go, which, and which never.

#include "kubelet/image_collector.hpp"

#include "image/pull.hpp"
#include "kubelet/eviction.hpp"
#include "support/fake_clock.hpp"
#include "unit/image/registry_server.hpp"

namespace skiff::kubelet {
namespace {

using Ids = std::vector<std::string>;

image::Image pulled(const std::string& id) {
  image::Image image;
  image.id = id;
  image.names = {id + ":1"};
  image.pulled_names = 1;
  return image;
}

TimePoint at(int seconds) { return TimePoint(std::chrono::seconds(seconds)); }

}  // namespace

TEST_CASE("images go from the high mark down to the low one") {
  CHECK(bytes_to_free({1000, 160}, {}) == 0);
  CHECK(bytes_to_free({1000, 150}, {}) == 50);
  CHECK(bytes_to_free({1000, 0}, {}) == 200);
  CHECK(bytes_to_free({1000, 0}, {.high_percent = 100, .low_percent = 99}) == 10);
  CHECK(bytes_to_free({0, 0}, {}) == 0);
}

TEST_CASE("the image that was not used for longest goes first; what is used, young or cannot be had again stays") {
  std::vector<image::Image> images = {pulled("fresh"), pulled("used"), pulled("b"), pulled("a"), pulled("unknown")};
  image::Image by_hand = pulled("by-hand");
  by_hand.names.push_back("mine:1");
  images.push_back(by_hand);
  image::Image untagged;
  untagged.id = "untagged";
  images.push_back(untagged);
  std::map<std::string, ImageHistory> history = {{"fresh", {at(100), {}}},   {"used", {at(1), at(2)}},  {"b", {at(1), at(50)}},
                                                 {"a", {at(1), at(40)}},     {"by-hand", {at(1), {}}}, {"untagged", {at(1), {}}}};
  CHECK(choose_images(images, history, {"used"}, at(60)) == Ids{"untagged", "a", "b"});
}

TEST_CASE("a full disk loses an unused pulled image once it is old enough, and says what it could not free") {
  image::test::Fixture fixture;
  image::test::RegistryServer registry;
  SystemClock real;
  for (const char* tag : {"1", "2"}) {
    std::string name = registry.add("app", tag, tag);
    REQUIRE(image::pull(*fixture.store, {image::parse_reference(name).value()}, {}, real, {}).ok());
  }
  fixture.must_load(image::test::docker_archive({"mine:1"}, {image::test::Tar().file("a", "x").end()}));
  const std::string first = registry.host() + "/app:1", second = registry.host() + "/app:2";
  image::test::TempDirectory node;
  REQUIRE(mark_image(node / "pods/u", fixture.must_resolve(first).id).ok());
  test::FakeClock clock;
  DiskSpace disk{1000, 500};
  std::vector<std::string> failures;
  ImageCollector collector(*fixture.store, clock, {},
                           {.in_use = [&] { return images_in_use(node.path()); },
                            .disk = [&] { return disk; },
                            .failed = [&](const std::string& message) { failures.push_back(message); }});
  collector.look();
  disk.available = 10;
  collector.look();  // all of them are young
  CHECK(fixture.store->has(second));
  CHECK(failures == Ids{"Failed to garbage collect required amount of images. Attempted to free 190 bytes, but only found 0 bytes "
                        "eligible to free."});
  clock.advance(3min);
  collector.look();
  CHECK(fixture.store->has(first));
  CHECK_FALSE(fixture.store->has(second));
  CHECK(fixture.store->has("mine:1"));
  image::test::fs::remove_all(node / "pods/u");  // the pod is gone
  CHECK(collector.free_all() > 0);
  CHECK_FALSE(fixture.store->has(first));
  CHECK(fixture.store->has("mine:1"));
}

TEST_CASE("a node short of disk gives up images before pods") {
  test::FakeClock clock;
  bool reclaimed = false;
  int evictions = 0;
  std::optional<Pressure> told;
  EvictionManager::Uses uses;
  uses.signals = [&] { return NodeSignals{1ULL << 40, reclaimed ? 1ULL << 40 : 0, 100, 100}; };
  uses.pods = [](bool) { return std::vector<std::pair<std::shared_ptr<const api::Pod>, client::PodUsage>>(); };
  uses.any_disk_limits = [] { return false; };
  uses.evict = [&](const EvictionChoice&) { ++evictions; };
  uses.tell = [&](const Pressure& pressure) { told = pressure; };
  uses.reclaim_disk = [&] { reclaimed = true; };
  EvictionManager manager(clock, {}, uses);
  manager.look();
  CHECK(reclaimed);
  CHECK(evictions == 0);
  CHECK_FALSE(told);
}

}  // namespace skiff::kubelet
