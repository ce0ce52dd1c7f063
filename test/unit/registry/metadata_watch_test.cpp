// One watch of all kinds, and what becomes of typed values that nobody uses.

#include <catch2/catch.hpp>

#include "api/gen/core.hpp"
#include "api/gen/pod.hpp"
#include "client/metadata_feed.hpp"
#include "registry/registry.hpp"
#include "support/fake_clock.hpp"

using namespace skiff;
using namespace skiff::registry;

namespace {

struct Cluster {
  test::FakeClock clock;
  SeededRandom random{1};
  std::unique_ptr<store::Store> store = store::Store::open({}).value();
  Registry registry{*store, clock, random};
  client::Client& client = registry.local_client();

  Cluster() {
    api::Namespace ns;
    ns.metadata.name = "default";
    REQUIRE(client.create(ns).ok());
  }
  client::Ref<api::ConfigMap> make(const std::string& name) {
    api::ConfigMap map;
    map.metadata.name = name;
    map.metadata.namespace_ = "default";
    map.metadata.labels["l"] = name;
    return client.create(map).value();
  }
};

std::string text(const client::MetadataEvent& event) {
  const char* type = event.type == client::WatchEvent::Type::Added ? "+" : event.type == client::WatchEvent::Type::Deleted ? "-" : "~";
  return std::string(type) + event.kind->plural + "/" + event.metadata->name + " " + event.metadata->labels.begin()->second;
}

const api::KindInfo& kMaps = api::kind_of<api::ConfigMap>();

}  // namespace

TEST_CASE("a metadata watch tells what is there, then what happens, of all kinds or of some") {
  Cluster cluster;
  cluster.make("a");
  std::vector<std::string> present;
  auto all = cluster.client.watch_metadata({}, [&](const client::MetadataEvent& event) { present.push_back(text(event)); }).value();
  CHECK(present == std::vector<std::string>{"+configmaps/a a", "+namespaces/default default"});
  present.clear();
  auto maps = cluster.client.watch_metadata({&kMaps}, [&](const client::MetadataEvent& event) { present.push_back(text(event)); }).value();
  CHECK(present == std::vector<std::string>{"+configmaps/a a"});

  api::Secret secret;
  secret.metadata.name = "s";
  secret.metadata.labels["l"] = "s";
  REQUIRE(cluster.client.create(secret).ok());
  REQUIRE(cluster.client.patch(kMaps, {"default", "a"}, client::PatchType::Merge, R"({"metadata":{"labels":{"l":"b"}}})").ok());
  REQUIRE(cluster.client.remove(kMaps, {"default", "a"}, {}).ok());
  CHECK(text(all->next({}).value()) == "+secrets/s s");
  CHECK(text(all->next({}).value()) == "~configmaps/a b");
  CHECK(text(all->next({}).value()) == "-configmaps/a b");
  CHECK(text(maps->next({}).value()) == "~configmaps/a b");
  std::stop_source stopped;
  stopped.request_stop();
  CHECK(maps->next(stopped.get_token()).error().code() == Code::Canceled);
}

TEST_CASE("a feed tells its handlers on its own thread and knows when it has told of all") {
  Cluster cluster;
  cluster.make("a");
  client::MetadataFeed feed(cluster.client, cluster.clock, {&kMaps});
  Mutex mutex;
  CondVar changed;
  std::vector<std::string> told;
  feed.on_change([&](const client::MetadataEvent& event) {
    MutexLock lock(mutex);
    told.push_back(text(event));
    changed.notify_all();
  });
  feed.start();
  REQUIRE(feed.wait_synced({}));
  CHECK(told == std::vector<std::string>{"+configmaps/a a"});
  cluster.make("b");
  MutexLock lock(mutex);
  changed.wait_until(mutex, std::chrono::steady_clock::now() + 10s, [&] { return told.size() == 2; });
  CHECK(told.back() == "+configmaps/b b");
}

TEST_CASE("a typed value lives as long as somebody uses it and is the same for all who do") {
  Cluster cluster;
  client::Ref<api::ConfigMap> made = cluster.make("a");
  const Resource& maps = cluster.registry.of(kMaps);
  store::RecordRef record = cluster.registry.get(maps, {"default", "a"}).value().record();
  CHECK(cluster.client.get<api::ConfigMap>({"default", "a"}).value() == made);
  made = nullptr;
  cluster.make("b");  // the writer has let go of what it delivered before
  CHECK_FALSE(record->view());
  auto first = cluster.client.get<api::ConfigMap>({"default", "a"}).value();
  CHECK(first->metadata.labels.at("l") == "a");
  CHECK(cluster.client.get<api::ConfigMap>({"default", "a"}).value() == first);
}
