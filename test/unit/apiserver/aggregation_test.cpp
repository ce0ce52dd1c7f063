// Aggregation without a network: who is asked in which words, what is said of backends, what discovery shows of them.

#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "api/gen/apiextensions.hpp"
#include "api/json.hpp"
#include "apiserver/api_service_registration.hpp"
#include "apiserver/backend_check.hpp"
#include "apiserver/backend_proxy.hpp"
#include "apiserver/discovery.hpp"
#include "apiserver/http_answer.hpp"
#include "unit/apiserver/test_api.hpp"

using namespace skiff;
using namespace skiff::apiserver;
using Json = nlohmann::json;

namespace {

Backend fruits() {
  Backend backend;
  backend.group = "fruit.example.com";
  backend.version = "v1";
  backend.service = {"default", "fruits"};
  backend.group_priority = 100;
  backend.version_priority = 10;
  return backend;
}

std::string get(const Discovery& discovery, const std::string& path, const std::string& accept = "") {
  Request request = test::TestApi::request("GET", path);
  if (!accept.empty()) request.headers.emplace("Accept", accept);
  std::optional<Reply> reply = discovery.serve(request);
  return reply ? *reply->body : "";
}

constexpr char kAggregated[] = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

}  // namespace

TEST_CASE("a backend is asked in the name of the user, and of nobody else") {
  Request request = test::TestApi::request("POST", "/apis/fruit.example.com/v1/fruits?dryRun=All", "{}");
  request.remote_address = "10.1.2.3";
  for (const char* name : {"Impersonate-User", "X-Remote-User", "x-remote-group", "X-Remote-Extra-Scopes",
                           "X-Remote-Uid", "Connection", "Transfer-Encoding"})
    request.headers.emplace(name, "forged");
  request.headers.emplace("X-Forwarded-For", "192.0.2.1");
  registry::User user{"jane", "u-1", {"cooks", "system:authenticated"}, {{"example.com/tag", {"a", "b"}}}};
  CHECK(backend_request(request, user, fruits()) ==
        "POST /apis/fruit.example.com/v1/fruits?dryRun=All HTTP/1.1\r\nHost: fruits.default.svc:443\r\n"
        "Connection: close\r\nContent-Type: application/json\r\nX-Remote-User: jane\r\nX-Remote-Uid: u-1\r\n"
        "X-Remote-Group: cooks\r\nX-Remote-Group: system:authenticated\r\nX-Remote-Extra-example.com%2Ftag: a\r\n"
        "X-Remote-Extra-example.com%2Ftag: b\r\nX-Forwarded-For: 192.0.2.1, 10.1.2.3\r\nContent-Length: 2\r\n\r\n{}");
  user = {"ja\r\nX-Remote-Group: system:masters", "", {}, {}};
  CHECK(backend_request(request, user, fruits()).find("masters") == std::string::npos);
}

TEST_CASE("an answer's head is read, and nothing else taken for one") {
  AnswerHead head =
      parse_answer_head("HTTP/1.1 201 Created\r\ncontent-type: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n").value();
  CHECK(head.status == 201);
  CHECK(head.chunked);
  CHECK_FALSE(head.length);
  CHECK(head.headers == Headers{{"content-type", "a"}});
  CHECK(parse_answer_head("HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\n").value().length == size_t{12});
  for (const char* text : {"", "HTTP/1.1", "HTTP/1.1 xyz\r\n\r\n", "SSH-2.0-OpenSSH_9\r\n\r\n", "HTTP/1.1 200 OK\r\nfoo\r\n\r\n"})
    CHECK_FALSE(parse_answer_head(text).ok());
  CHECK(*parse_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").value().body == "abc");
  CHECK_FALSE(parse_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab").ok());
}

TEST_CASE("what keeps a service from being reached is told in Kubernetes' words") {
  auto service = api::from_json<api::Service>(
                     R"({"metadata":{"name":"fruits"},"spec":{"type":"ClusterIP","ports":[{"name":"https","port":443}]}})")
                     .value();
  auto elsewhere = api::from_json<api::Service>(R"({"spec":{"type":"ClusterIP","ports":[{"port":80}]}})").value();
  auto external = api::from_json<api::Service>(R"({"spec":{"type":"ExternalName","externalName":"x"}})").value();
  auto ready = api::from_json<api::Endpoints>(
                   R"({"subsets":[{"addresses":[{"ip":"10.0.0.1"}],"ports":[{"name":"https","port":1}]}]})")
                   .value();
  auto unready = api::from_json<api::Endpoints>(
                     R"({"subsets":[{"notReadyAddresses":[{"ip":"10.0.0.1"}],"ports":[{"name":"https","port":1}]}]})")
                     .value();
  auto unnamed = api::from_json<api::Endpoints>(
                     R"({"subsets":[{"addresses":[{"ip":"10.0.0.1"}],"ports":[{"name":"http","port":1}]}]})")
                     .value();
  struct Row {
    const api::Service* service;
    const api::Endpoints* endpoints;
    const char* reason;
    const char* message;
  };
  constexpr char kMissing[] = R"(endpoints for service/fruits in "default" have no addresses with port name "https")";
  const Row rows[] = {
      {nullptr, nullptr, "ServiceNotFound", R"(service/fruits in "default" is not present)"},
      {&elsewhere, &ready, "ServicePortError", R"(service/fruits in "default" is not listening on port 443)"},
      {&service, nullptr, "EndpointsNotFound", R"(cannot find endpoints for service/fruits in "default")"},
      {&service, &unready, "MissingEndpoints", kMissing},
      {&service, &unnamed, "MissingEndpoints", kMissing},
      {&service, &ready, "", ""},
      {&external, nullptr, "", ""},
  };
  for (const Row& row : rows) {
    auto problem = service_problem(fruits(), row.service, row.endpoints);
    CHECK((problem ? problem->reason : "") == row.reason);
    CHECK((problem ? problem->message : "") == row.message);
    if (problem) CHECK(problem->status == "False");
  }
}

TEST_CASE("a condition keeps its transition time until its status changes") {
  api::APIService service;
  auto at = [](int seconds) { return api::Time::from(WallTime(std::chrono::seconds(seconds))); };
  set_condition(service, locally_available(), at(1));
  api::APIServiceCondition passed = locally_available();
  passed.reason = "Passed";
  set_condition(service, passed, at(2));
  REQUIRE(service.status.conditions.size() == 1);
  CHECK(service.status.conditions[0].reason == "Passed");
  CHECK(service.status.conditions[0].lastTransitionTime == at(1));
  CHECK(is_available(service));
  passed.status = "False";
  set_condition(service, passed, at(3));
  CHECK(service.status.conditions[0].lastTransitionTime == at(3));
  CHECK_FALSE(is_available(service));
}

TEST_CASE("discovery holds what backends serve, and what they served when they are gone") {
  auto backend = std::make_shared<Backend>(fruits());
  backend->available = true;
  auto documents = std::make_shared<RemoteDocuments>();
  documents->resources = aggregated_entries(R"({"resources":[
      {"name":"fruits","singularName":"fruit","namespaced":true,"kind":"Fruit","verbs":["get"],"shortNames":["fr"]},
      {"name":"fruits/status","namespaced":true,"kind":"Fruit","verbs":["update"]}]})", *backend).value();
  backend->documents = documents;
  Backends all;
  all.by_version[{backend->group, backend->version}] = backend;
  const api::KindInfo& pod = api::kind_of<api::Pod>();
  Json group = Json::parse(get(Discovery({&pod}, all), "/apis"))["groups"][0];
  CHECK(group["name"] == "fruit.example.com");
  CHECK(group["preferredVersion"]["groupVersion"] == "fruit.example.com/v1");
  auto version = [&] { return Json::parse(get(Discovery({&pod}, all), "/apis", kAggregated))["items"][0]["versions"][0]; };
  CHECK(version()["freshness"] == "Current");
  CHECK(version()["resources"] == Json::parse(R"([{"resource":"fruits","scope":"Namespaced","singularResource":"fruit",
      "responseKind":{"group":"fruit.example.com","version":"v1","kind":"Fruit"},"shortNames":["fr"],"verbs":["get"],
      "subresources":[{"subresource":"status","verbs":["update"],
        "responseKind":{"group":"fruit.example.com","version":"v1","kind":"Fruit"}}]}])"));
  backend->available = false;
  CHECK(version()["freshness"] == "Stale");
  CHECK(version()["resources"].size() == 1);
  CHECK_FALSE(aggregated_entries("<html>", *backend).ok());
  CHECK_FALSE(aggregated_entries(R"({"resources":[{"name":7}]})", *backend).ok());
}

TEST_CASE("groups and versions stand in the order of their priorities") {
  Backends all;
  auto add = [&](const char* group, const char* version, int of_group, int of_version) {
    auto backend = std::make_shared<Backend>(fruits());
    backend->group = group;
    backend->version = version;
    backend->group_priority = of_group;
    backend->version_priority = of_version;
    all.by_version[{group, version}] = backend;
  };
  add("late", "v1", 100, 1);
  add("early", "v1", 19000, 1);
  add("late", "v2alpha1", 100, 9);
  add("batch", "v3", 1, 1);
  Json groups = Json::parse(get(Discovery({api::find_kind("batch/v1", "Job"), api::find_kind("apps/v1", "Deployment")}, all),
                                "/apis"))["groups"];
  std::vector<std::string> order;
  for (const Json& group : groups)
    for (const Json& version : group["versions"]) order.push_back(version["groupVersion"]);
  CHECK(order == std::vector<std::string>{"early/v1", "apps/v1", "batch/v1", "batch/v3", "late/v2alpha1", "late/v1"});
}

TEST_CASE("what the server serves itself has APIServices") {
  test::TestApi world;
  client::Client& client = world.registry.local_client();
  REQUIRE(register_built_in(client, *world.registry.catalogue()).ok());
  auto find = [&](const std::string& name) { return client.get<api::APIService>({"", name}); };
  api::APIService apps = *find("v1.apps").value();
  CHECK(apps.metadata.labels[kAutomanaged] == "onstart");
  CHECK(apps.spec.groupPriorityMinimum == 17800);
  CHECK(apps.spec.versionPriority == 15);
  CHECK(is_available(apps));
  CHECK(find("v1.").ok());
  CHECK_FALSE(find("v1.apiregistration.k8s.io").ok());

  // What was changed comes back with the next start, unless a user took it over.
  apps.spec.versionPriority = 1;
  REQUIRE(client.update(apps).ok());
  api::APIService kept = *find("v1.batch").value();
  kept.spec.versionPriority = 1;
  kept.metadata.labels.clear();
  REQUIRE(client.update(kept).ok());
  api::APIService old = *find("v1.policy").value();
  old.metadata.name = "v0.policy";
  old.metadata.resourceVersion.clear();
  old.metadata.uid.clear();
  old.spec.version = "v0";
  REQUIRE(client.create(old).ok());
  REQUIRE(register_built_in(client, *world.registry.catalogue()).ok());
  CHECK(find("v1.apps").value()->spec.versionPriority == 15);
  CHECK(find("v1.batch").value()->spec.versionPriority == 1);
  CHECK_FALSE(find("v0.policy").ok());
}

TEST_CASE("the APIServices of custom resources come and go with them") {
  test::TestApi world;
  client::Client& client = world.registry.local_client();
  auto crd = std::make_shared<api::CustomResourceDefinition>(
      api::from_json<api::CustomResourceDefinition>(
          R"({"spec":{"group":"x.io","versions":[{"name":"v1","served":true},{"name":"v2","served":false}]}})")
          .value());
  CHECK(api_service_names(*crd) == std::vector<std::string>{"v1.x.io"});
  CHECK_FALSE(custom_api_service("v2.x.io", {crd}));
  auto wanted = custom_api_service("v1.x.io", {crd});
  REQUIRE(wanted);
  auto find = [&] { return client.get<api::APIService>({"", "v1.x.io"}); };
  REQUIRE(keep_registered(client, "v1.x.io", wanted).ok());
  CHECK(find().value()->spec.groupPriorityMinimum == 1000);
  CHECK(find().value()->metadata.labels.at(kAutomanaged) == "true");
  REQUIRE(keep_registered(client, "v1.x.io", std::nullopt).ok());
  CHECK_FALSE(find().ok());
  wanted->metadata.labels.clear();  // a user's own stays
  REQUIRE(client.create(*wanted).ok());
  REQUIRE(keep_registered(client, "v1.x.io", std::nullopt).ok());
  CHECK(find().ok());
}
