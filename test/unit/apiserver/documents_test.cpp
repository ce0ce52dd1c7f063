// Discovery, OpenAPI and tables: documents that clients read to know the API.

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>

#include "apiserver/table.hpp"
#include "unit/apiserver/test_api.hpp"

using namespace skiff;
using namespace skiff::apiserver;
using nlohmann::json;
using test::TestApi;

namespace {
json get(TestApi& test, const std::string& path) { return json::parse(*test.call("GET", path).body); }
const char* const kAggregated =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
}  // namespace

TEST_CASE("discovery lists groups, versions and resources") {
  TestApi test;
  CHECK(get(test, "/api")["versions"] == json::array({"v1"}));
  json groups = get(test, "/apis")["groups"];
  CHECK(std::ranges::any_of(groups, [](const json& group) { return group["name"] == "apps"; }));
  CHECK(get(test, "/apis/apps")["preferredVersion"]["groupVersion"] == "apps/v1");
  CHECK(get(test, "/api/v1")["groupVersion"] == "v1");
  std::map<std::string, json> resources;
  const json list = get(test, "/apis/apps/v1");
  for (const json& one : list["resources"]) resources[one["name"]] = one;
  CHECK(resources["deployments"]["shortNames"] == json::array({"deploy"}));
  CHECK(resources["deployments"]["categories"] == json::array({"all"}));
  CHECK(resources["deployments"]["singularName"] == "deployment");
  CHECK(resources["deployments/scale"]["group"] == "autoscaling");
  CHECK(resources["deployments/scale"]["kind"] == "Scale");
  CHECK(resources["deployments/status"]["verbs"] == json::array({"get", "patch", "update"}));
  CHECK(test.call("GET", "/apis/nope").status == 404);
  CHECK(test.call("GET", "/apis/apps/v9").status == 404);
}

TEST_CASE("aggregated discovery says the same in one document") {
  TestApi test;
  for (const char* path : {"/api", "/apis"}) {
    Reply reply = test.call_as(kAggregated, path);
    CHECK(reply.content_type == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    json document = json::parse(*reply.body);
    CHECK(document["kind"] == "APIGroupDiscoveryList");
    std::set<std::string> found, expected;
    for (const json& group : document["items"]) {
      for (const json& version : group["versions"]) {
        std::string name = group["metadata"].value("name", "");
        std::string base = name.empty() ? "/api/" : "/apis/" + name + "/";
        for (const json& one : version["resources"]) {
          found.insert(base + one["resource"].get<std::string>());
          const json subresources = one.value("subresources", json::array());
          for (const json& sub : subresources)
            found.insert(base + one["resource"].get<std::string>() + "/" +
                         sub["subresource"].get<std::string>());
        }
        const json list = get(test, base + version["version"].get<std::string>());
        for (const json& one : list["resources"]) expected.insert(base + one["name"].get<std::string>());
      }
    }
    CHECK(found == expected);
    CHECK_FALSE(found.empty());
  }
  CHECK(json::parse(*test.call_as("application/json", "/apis").body)["kind"] == "APIGroupList");
}

TEST_CASE("every reference in an OpenAPI document leads somewhere") {
  TestApi test;
  std::vector<std::pair<std::string, std::string>> documents{{"/openapi/v2", "#/definitions/"}};
  const json index = get(test, "/openapi/v3");
  for (const auto& [path, entry] : index["paths"].items())
    documents.emplace_back(entry["serverRelativeURL"], "#/components/schemas/");
  CHECK(documents.size() > 15);
  for (const auto& [path, prefix] : documents) {
    INFO(path);
    json document = get(test, path);
    const json& schemas =
        prefix == "#/definitions/" ? document["definitions"] : document["components"]["schemas"];
    size_t dangling = 0;
    std::function<void(const json&)> walk = [&](const json& node) {
      if (node.is_object() && node.contains("$ref") && node["$ref"].is_string()) {
        std::string name = node["$ref"].get<std::string>().substr(prefix.size());
        if (!schemas.contains(name)) ++dangling;
      }
      if (node.is_structured())
        for (const json& child : node) walk(child);
    };
    walk(document);
    CHECK(dangling == 0);
    CHECK_FALSE(schemas.empty());
  }
}

TEST_CASE("schemas carry what clients merge and validate by") {
  TestApi test;
  json schemas = get(test, "/openapi/v3/api/v1")["components"]["schemas"];
  const json& pod = schemas["io.k8s.api.core.v1.Pod"];
  CHECK(pod["x-kubernetes-group-version-kind"][0] ==
        json({{"group", ""}, {"version", "v1"}, {"kind", "Pod"}}));
  const json& spec = schemas["io.k8s.api.core.v1.PodSpec"];
  CHECK(spec["required"] == json::array({"containers"}));
  CHECK(spec["properties"]["containers"]["x-kubernetes-patch-merge-key"] == "name");
  CHECK(spec["properties"]["containers"]["x-kubernetes-list-map-keys"] == json::array({"name"}));
  CHECK(schemas.contains("io.k8s.api.core.v1.PodList"));
  json v2 = get(test, "/openapi/v2")["definitions"];
  CHECK(v2["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"] == "int-or-string");
}

TEST_CASE("clients find the parameters of PATCH, from which they know that validation is the server's") {
  TestApi test;
  json patch =
      get(test, "/openapi/v3/api/v1")["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
  CHECK(patch["x-kubernetes-group-version-kind"]["kind"] == "Pod");
  CHECK(std::ranges::any_of(patch["parameters"],
                            [](const json& one) { return one["name"] == "fieldValidation"; }));
}

TEST_CASE("old clients get OpenAPI as protobuf") {
  TestApi test;
  Reply reply = test.call_as("application/com.github.proto-openapi.spec.v2@v1.0+protobuf", "/openapi/v2");
  CHECK(reply.content_type == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
  CHECK(
      reply.body->starts_with("\x0a\x03"
                              "2.0"));
  CHECK(reply.body->find("io.k8s.api.apps.v1.Deployment") != std::string::npos);
}

TEST_CASE("every kind fills as many cells as it has columns") {
  TestApi test;
  for (const registry::Resource& resource : test.registry.resources()) {
    INFO(resource.kind->kind);
    std::shared_ptr<void> object = resource.kind->type->ops->make();
    json table = json::parse(write_table(*resource.kind, {{client::AnyRef(*resource.kind, object), nullptr}},
                                         {}, {}, test.clock.wall_now()));
    CHECK(table["rows"][0]["cells"].size() == table["columnDefinitions"].size());
    if (!resource.kind->columns.empty())
      CHECK(table["columnDefinitions"].size() == resource.kind->columns.size());
  }
}

TEST_CASE("durations are short") {
  struct Row {
    long long seconds;
    const char* text;
  };
  const std::vector<Row> rows{{-5, "<invalid>"},   {-1, "0s"},       {0, "0s"},      {119, "119s"},
                              {120, "2m"},         {125, "2m5s"},    {600, "10m"},   {10799, "179m"},
                              {10800, "3h"},       {14700, "4h5m"},  {28800, "8h"},  {172799, "47h"},
                              {172800, "2d"},      {180000, "2d2h"}, {691200, "8d"}, {63072000, "2y"},
                              {66528000, "2y40d"}, {252288000, "8y"}};
  for (const Row& row : rows) CHECK(human_duration(std::chrono::seconds(row.seconds)) == row.text);
}

namespace {
std::string pod_cells(const std::string& spec, const std::string& status, const std::string& metadata = "") {
  TestApi test;
  test.clock.advance(1h);
  auto kind = api::find_kind("v1", "Pod");
  std::shared_ptr<void> object = kind->type->ops->make();
  registry::RequestContext context;
  std::string text =
      R"({"metadata":{"name":"p")" + metadata + R"(},"spec":)" + spec + R"(,"status":)" + status + "}";
  registry::Draft draft = test.registry.decode(*kind, text, context).value();
  json table = json::parse(write_table(*kind, {{draft.any(), nullptr}}, {}, {}, test.clock.wall_now()));
  std::string cells;
  for (size_t i = 1; i < 4; ++i) cells += table["rows"][0]["cells"][i].get<std::string>() + "|";
  return cells;
}
}  // namespace

TEST_CASE("pods are summed up as kubectl shows them") {
  const std::string one = R"({"containers":[{"name":"c","image":"x"}]})";
  const std::string init =
      R"({"containers":[{"name":"c","image":"x"}],"initContainers":[{"name":"i","image":"x"}]})";
  const std::string sidecar =
      R"({"containers":[{"name":"c","image":"x"}],"initContainers":[{"name":"i","image":"x","restartPolicy":"Always"}]})";
  struct Row {
    const char* name;
    std::string spec, status, metadata, want;
  };
  const std::vector<Row> rows{
      {"new", one, R"({"phase":"Pending"})", "", "0/1|Pending|0|"},
      {"running", one,
       R"({"phase":"Running","containerStatuses":[{"name":"c","ready":true,"restartCount":0,"state":{"running":{}}}]})",
       "", "1/1|Running|0|"},
      {"crashing", one,
       R"({"phase":"Running","containerStatuses":[{"name":"c","restartCount":4,"state":{"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"exitCode":1,"finishedAt":"1970-01-01T00:00:00Z"}}}]})",
       "", ""},
      {"creating", one,
       R"({"phase":"Pending","containerStatuses":[{"name":"c","state":{"waiting":{"reason":"ContainerCreating"}}}]})",
       "", "0/1|ContainerCreating|0|"},
      {"failed", one,
       R"({"phase":"Failed","containerStatuses":[{"name":"c","state":{"terminated":{"exitCode":3}}}]})", "",
       "0/1|ExitCode:3|0|"},
      {"killed", one,
       R"({"phase":"Failed","containerStatuses":[{"name":"c","state":{"terminated":{"exitCode":137,"signal":9}}}]})",
       "", "0/1|Signal:9|0|"},
      {"evicted", one, R"({"phase":"Failed","reason":"Evicted"})", "", "0/1|Evicted|0|"},
      {"going", one, R"({"phase":"Running"})", R"(,"deletionTimestamp":"2020-01-01T00:00:00Z")",
       "0/1|Terminating|0|"},
      {"done and going", one, R"({"phase":"Succeeded"})", R"(,"deletionTimestamp":"2020-01-01T00:00:00Z")",
       "0/1|Succeeded|0|"},
      {"gated", one,
       R"({"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","reason":"SchedulingGated"}]})",
       "", "0/1|SchedulingGated|0|"},
      {"initializing", init,
       R"({"phase":"Pending","initContainerStatuses":[{"name":"i","restartCount":2,"state":{"running":{}}}]})",
       "", "0/1|Init:0/1|2|"},
      {"init failed", init,
       R"({"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"terminated":{"exitCode":2,"reason":"Error"}}}]})",
       "", "0/1|Init:Error|0|"},
      {"sidecar", sidecar,
       R"({"phase":"Running","initContainerStatuses":[{"name":"i","ready":true,"started":true,"state":{"running":{}}}],"containerStatuses":[{"name":"c","ready":true,"state":{"running":{}}}]})",
       "", "2/2|Running|0|"},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    std::string cells = pod_cells(row.spec, row.status, row.metadata);
    if (row.want.empty()) {
      CHECK(cells.starts_with("0/1|CrashLoopBackOff|4 ("));
      CHECK(cells.ends_with(" ago)|"));
    } else {
      CHECK(cells == row.want);
    }
  }
}
