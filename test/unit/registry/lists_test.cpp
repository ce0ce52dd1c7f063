// The resourceVersion and resourceVersionMatch matrix of lists, and kinds that are made when asked for.
#include <catch2/catch.hpp>

#include "api/gen/core.hpp"
#include "api/gen/pod.hpp"
#include "api/status.hpp"
#include "registry/registry.hpp"
#include "support/fake_clock.hpp"

using namespace skiff;
using namespace skiff::registry;

namespace {

struct Maps {
  test::FakeClock clock;
  SeededRandom random{1};
  std::unique_ptr<store::Store> store = store::Store::open({}).value();
  Registry registry{*store, clock, random};

  Maps() {
    api::Namespace ns;
    ns.metadata.name = "default";
    REQUIRE(registry.local_client().create(ns).ok());
    for (const char* name : {"a", "b", "c"}) add(name);
  }
  void add(const std::string& name) {
    api::ConfigMap map;
    map.metadata.name = name;
    REQUIRE(registry.local_client().create(map).ok());
  }
  Result<ListPage> list(ListQuery query) {
    query.namespace_ = "default";
    return registry.list(registry.of(api::kind_of<api::ConfigMap>()), query);
  }
};

std::string names(const ListPage& page) {
  std::string all;
  for (const Object& object : page.items) all += object.metadata()->name;
  return all;
}

}  // namespace

TEST_CASE("what a list shows for a resourceVersion and a match") {
  Maps maps;
  const std::string before = std::to_string(maps.registry.revision());
  maps.add("d");
  const std::string ahead = std::to_string(maps.registry.revision() + 100);
  const std::string continued = maps.list({.limit = 1}).value().continue_token;
  struct Row {
    const char* what;
    ListQuery query;
    std::string want;  // names, or a part of the refusal
    Code code = Code::Invalid;
  };
  const Row rows[] = {
      {"nothing asked", {}, "abcd"},
      {"any version", {.resource_version = "0"}, "abcd"},
      {"not older", {.resource_version = before}, "abcd"},
      {"not older, said", {.resource_version = before, .resource_version_match = "NotOlderThan"}, "abcd"},
      {"exact", {.resource_version = before, .resource_version_match = "Exact"}, "abc"},
      {"the first page of an older moment", {.limit = 2, .resource_version = before}, "ab"},
      {"too new", {.resource_version = ahead}, "Timeout: Too large resource version", Code::Timeout},
      {"no number", {.resource_version = "x"}, "Invalid value: \"x\"", Code::BadRequest},
      {"a match without a version", {.resource_version_match = "Exact"},
       "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless "
       "resourceVersion is provided"},
      {"an unknown match", {.resource_version = "1", .resource_version_match = "Newest"},
       "Unsupported value: \"Newest\": supported values: \"Exact\", \"NotOlderThan\", \"\""},
      {"exactly any", {.resource_version = "0", .resource_version_match = "Exact"},
       "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""},
      {"a match on a later page",
       {.limit = 1, .continue_token = continued, .resource_version = "0", .resource_version_match = "NotOlderThan"},
       "resourceVersionMatch is forbidden when continue is provided"},
      {"a version on a later page", {.limit = 1, .continue_token = continued, .resource_version = before},
       "specifying resource version is not allowed when using continue", Code::BadRequest},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    Result<ListPage> page = maps.list(row.query);
    if (page.ok()) {
      CHECK(names(page.value()) == row.want);
      continue;
    }
    CHECK(page.error().message().find(row.want) != std::string::npos);
    CHECK(page.error().code() == row.code);
  }
}

TEST_CASE("a page of the past goes on from the same moment") {
  Maps maps;
  const std::string before = std::to_string(maps.registry.revision());
  maps.add("d");
  ListPage first = maps.list({.limit = 2, .resource_version = before, .resource_version_match = "Exact"}).value();
  CHECK(first.remaining == 1);
  ListPage second = maps.list({.limit = 2, .continue_token = first.continue_token}).value();
  CHECK(names(second) == "c");
  CHECK(second.revision == first.revision);
  CHECK(second.continue_token.empty());
}

TEST_CASE("component statuses are made when asked for") {
  Maps maps;
  const Resource& statuses = maps.registry.of(api::kind_of<api::ComponentStatus>());
  CHECK(maps.registry.list(statuses, {}).value().items.size() == 3);
  CHECK(maps.registry.get(statuses, {"", "scheduler"}).value().json().find("Healthy") != std::string::npos);
  CHECK(maps.registry.get(statuses, {"", "nothing"}).error().code() == Code::NotFound);
}
