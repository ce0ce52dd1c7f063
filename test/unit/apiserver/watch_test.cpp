#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "unit/apiserver/test_api.hpp"

using namespace skiff;
using namespace skiff::apiserver;
using nlohmann::json;
using test::CollectingSink;
using test::TestApi;

namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";

std::string map_named(const std::string& name, const std::string& label = "x") {
  return json({{"metadata", {{"name", name}, {"labels", {{"l", label}}}}}}).dump();
}

/// A watch under way. Its sink is closed at the end, as the streamer does.
struct Running {
  Running(TestApi& test, const std::string& query, const std::string& accept = "application/json")
      : sink(std::make_shared<CollectingSink>()) {
    Request request = TestApi::request("GET", kMaps + "?watch=true&" + query);
    request.headers.emplace("Accept", accept);
    reply = std::get<StreamReply>(test.api.handle(request));
    reply.start(sink, {});
  }
  ~Running() { sink->close(); }
  std::vector<json> events(const std::string& until) {
    std::vector<json> all;
    std::string text = sink->wait_for(until);
    for (size_t at = 0, end = 0; (end = text.find('\n', at)) != text.npos; at = end + 1)
      all.push_back(json::parse(text.substr(at, end - at)));
    return all;
  }
  std::shared_ptr<CollectingSink> sink;
  StreamReply reply;
};

std::string types(const std::vector<json>& events) {
  std::string text;
  for (const json& event : events) text += event["type"].get<std::string>() + " ";
  return text;
}

}  // namespace

TEST_CASE("a watch shows what is there and then what happens") {
  TestApi test;
  REQUIRE(test.call("POST", kMaps, map_named("a")).status == 201);
  Running watch(test, "");
  REQUIRE(test.call("POST", kMaps, map_named("b")).status == 201);
  REQUIRE(test.call("DELETE", kMaps + "/a").status == 200);
  std::vector<json> events = watch.events("DELETED");
  CHECK(types(events) == "ADDED ADDED DELETED ");
  CHECK(events[1]["object"]["kind"] == "ConfigMap");
  CHECK(events[2]["object"]["metadata"]["name"] == "a");
  CHECK(std::stoi(events[2]["object"]["metadata"]["resourceVersion"].get<std::string>()) >
        std::stoi(events[1]["object"]["metadata"]["resourceVersion"].get<std::string>()));
}

TEST_CASE("a watch goes on from a list without gap or repetition") {
  TestApi test;
  REQUIRE(test.call("POST", kMaps, map_named("a")).status == 201);
  std::string version = json::parse(*test.call("GET", kMaps).body)["metadata"]["resourceVersion"];
  REQUIRE(test.call("POST", kMaps, map_named("b")).status == 201);
  Running watch(test, "resourceVersion=" + version);
  REQUIRE(test.call("POST", kMaps, map_named("c")).status == 201);
  std::vector<json> events = watch.events("\"c\"");
  REQUIRE(events.size() == 2);
  CHECK(events[0]["object"]["metadata"]["name"] == "b");
}

TEST_CASE("with a selector objects come and go as they match") {
  TestApi test;
  Running watch(test, "labelSelector=l=yes");
  REQUIRE(test.call("POST", kMaps, map_named("a", "no")).status == 201);
  REQUIRE(test.call("PUT", kMaps + "/a", map_named("a", "yes")).status == 200);
  REQUIRE(test.call("PUT", kMaps + "/a", map_named("a", "no")).status == 200);
  CHECK(types(watch.events("DELETED")) == "ADDED DELETED ");
}

TEST_CASE("initial events end with a marked bookmark") {
  TestApi test;
  REQUIRE(test.call("POST", kMaps, map_named("a")).status == 201);
  Running watch(test, "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true");
  std::vector<json> events = watch.events("BOOKMARK");
  CHECK(types(events) == "ADDED BOOKMARK ");
  CHECK(events[1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true");
  REQUIRE(test.call("POST", kMaps, map_named("b")).status == 201);
  CHECK(types(watch.events("\"b\"")) == "ADDED BOOKMARK ADDED ");
}

TEST_CASE("a tick bookmarks progress, once") {
  TestApi test;
  Running watch(test, "allowWatchBookmarks=true&resourceVersion=1");
  REQUIRE(watch.reply.interval.has_value());
  REQUIRE(test.call("POST", kMaps, map_named("a")).status == 201);
  watch.sink->wait_for("\"a\"");
  // The store says that an event has been handed over only after it was: the bookmark may be one tick late.
  for (int i = 0; i < 1000 && watch.events("ADDED").size() < 2; ++i) watch.reply.tick(*watch.sink);
  std::vector<json> events = watch.events("BOOKMARK");
  REQUIRE(events.size() == 2);
  CHECK(events[1]["object"]["kind"] == "ConfigMap");
  CHECK(events[1]["object"]["metadata"]["resourceVersion"] ==
        events[0]["object"]["metadata"]["resourceVersion"]);
  watch.reply.tick(*watch.sink);
  CHECK(watch.events("BOOKMARK").size() == 2);
}

TEST_CASE("without a request for them there are no bookmarks") {
  TestApi test;
  Running watch(test, "");
  CHECK_FALSE(watch.reply.interval.has_value());
  CHECK_FALSE(watch.reply.tick);
}

TEST_CASE("in table form only the first event names the columns") {
  TestApi test;
  REQUIRE(test.call("POST", kMaps, map_named("a")).status == 201);
  Running watch(test, "", "application/json;as=Table;g=meta.k8s.io;v=v1");
  REQUIRE(test.call("POST", kMaps, map_named("b")).status == 201);
  std::vector<json> events = watch.events("\"b\"");
  REQUIRE(events.size() == 2);
  CHECK(events[0]["object"]["columnDefinitions"].size() == 3);
  CHECK(events[1]["object"]["columnDefinitions"].is_null());
  CHECK(events[1]["object"]["rows"][0]["cells"][0] == "b");
}

TEST_CASE("a watch lasts as long as was asked") {
  TestApi test;
  CHECK(Running(test, "timeoutSeconds=7").reply.limit == Duration(7s));
  Duration usual = *Running(test, "").reply.limit;
  CHECK(usual >= 30min);
  CHECK(usual < 60min);
}

TEST_CASE("watches that cannot be are refused") {
  TestApi test;
  struct Row {
    const char* query;
    int status;
  };
  auto row = GENERATE(values<Row>({
      {"resourceVersion=x", 400},
      {"resourceVersion=99999", 504},
      {"resourceVersionMatch=Exact", 422},
      {"sendInitialEvents=true", 422},
      {"timeoutSeconds=x", 400},
      {"labelSelector=a=b=c", 400},
  }));
  DYNAMIC_SECTION(row.query) {
    CHECK(test.call("GET", kMaps + "?watch=true&" + row.query).status == row.status);
  }
}

TEST_CASE("an end of the stream ends the watch") {
  TestApi test;
  auto sink = std::make_shared<CollectingSink>();
  std::weak_ptr<CollectingSink> weak = sink;
  {
    Running watch(test, "allowWatchBookmarks=true");
    weak = watch.sink;
  }
  REQUIRE(test.call("POST", kMaps, map_named("a")).status == 201);
  CHECK(weak.expired());
}
