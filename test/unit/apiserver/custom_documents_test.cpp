// Custom resources in discovery, OpenAPI and tables, from the definition to its end.

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "registry/custom_resources.hpp"
#include "unit/apiserver/test_api.hpp"

using namespace skiff;
using namespace skiff::apiserver;
using nlohmann::json;

namespace {

const char* const kDefinition = R"({"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition",
  "metadata":{"name":"widgets.example.com"},"spec":{"group":"example.com","scope":"Namespaced",
  "names":{"plural":"widgets","kind":"Widget","shortNames":["wd"],"categories":["all"]},
  "versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{},"scale":
    {"specReplicasPath":".spec.replicas","statusReplicasPath":".status.replicas"}},
   "additionalPrinterColumns":[{"name":"Size","type":"integer","jsonPath":".spec.size","priority":1,"description":"How big."},
    {"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}],
   "schema":{"openAPIV3Schema":{"type":"object","description":"A thing.","properties":
    {"spec":{"type":"object","required":["any","size"],"properties":{"size":{"type":"integer"},
     "any":{"type":"string","nullable":true},"port":{"x-kubernetes-int-or-string":true}}},
     "status":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}},
   {"name":"v2","served":true,"storage":false,"schema":{"openAPIV3Schema":{"type":"object",
    "x-kubernetes-preserve-unknown-fields":true}}}]}})";

struct CustomApi : test::TestApi {
  registry::CustomResources custom{registry, clock, random, nullptr};

  void settle() { REQUIRE(custom.reconcile({"", "widgets.example.com"}).ok()); }
  void define() {
    Reply made = call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", kDefinition);
    INFO(*made.body);
    REQUIRE(made.status == 201);
    settle();
  }
  json get(const std::string& path) { return json::parse(*call("GET", path).body); }
};

}  // namespace

TEST_CASE("a custom resource is in every document while it is served") {
  CustomApi test;
  std::string before = test.get("/openapi/v3").dump();
  test.define();
  json list = test.get("/apis/example.com/v1");
  REQUIRE(list["resources"].size() == 3);
  CHECK(list["resources"][0]["shortNames"] == json::array({"wd"}));
  CHECK(list["resources"][0]["categories"] == json::array({"all"}));
  CHECK(list["resources"][2]["kind"] == "Scale");
  CHECK(test.get("/apis/example.com")["preferredVersion"]["version"] == "v2");

  json v3 = test.get("/openapi/v3/apis/example.com/v1")["components"]["schemas"]["com.example.v1.Widget"];
  CHECK(v3["x-kubernetes-group-version-kind"][0]["kind"] == "Widget");
  CHECK(v3["properties"]["spec"]["properties"]["port"]["x-kubernetes-int-or-string"] == true);
  CHECK(v3["properties"].contains("apiVersion"));
  CHECK(v3["properties"]["metadata"]["allOf"][0]["$ref"] ==
        "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
  const json all = test.get("/openapi/v2");
  json v2 = all["definitions"]["com.example.v1.Widget"];
  CHECK(v2["properties"]["spec"]["properties"]["any"] == json::object());
  CHECK(v2["properties"]["spec"]["required"] == json::array({"size"}));
  CHECK(all["definitions"].contains("com.example.v1.WidgetList"));
  CHECK(all["paths"].contains("/apis/example.com/v1/namespaces/{namespace}/widgets/{name}/status"));

  REQUIRE(test.call("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com").status ==
          200);
  test.settle();
  CHECK(test.call("GET", "/apis/example.com/v1").status == 404);
  CHECK(test.get("/openapi/v3").dump() == before);
}

TEST_CASE("a changed schema changes what clients keep of OpenAPI") {
  CustomApi test;
  test.define();
  auto url = [&] { return test.get("/openapi/v3")["paths"]["apis/example.com/v1"]["serverRelativeURL"]; };
  json before = url();
  Request patch = test.request(
      "PATCH", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com",
      R"([{"op":"add","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/x",)"
      R"("value":{"type":"string"}}])");
  patch.headers.erase("Content-Type");
  patch.headers.emplace("Content-Type", "application/json-patch+json");
  REQUIRE(test.call(patch).status == 200);
  test.settle();
  CHECK(url() != before);
}

TEST_CASE("a table of custom objects has the columns of its definition") {
  CustomApi test;
  test.define();
  const char* path = "/apis/example.com/v1/namespaces/default/widgets";
  REQUIRE(test.call("POST", path,
                    R"({"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"a"},"spec":{"size":3,"any":null}})")
              .status == 201);
  REQUIRE(test.call("PUT", std::string(path) + "/a/status",
                    [&] {
                      json object = test.get(std::string(path) + "/a");
                      object["status"] = {{"conditions", {{{"type", "Ready"}, {"status", "True"}}}}};
                      return object.dump();
                    }())
              .status == 200);
  json table = json::parse(*test.call_as("application/json;as=Table;v=v1;g=meta.k8s.io", path).body);
  REQUIRE(table["columnDefinitions"].size() == 3);
  CHECK(table["columnDefinitions"][1]["priority"] == 1);
  CHECK(table["columnDefinitions"][1]["description"] == "How big.");
  CHECK(table["columnDefinitions"][2]["description"] ==
        "Custom resource definition column (in JSONPath format): .status.conditions[?(@.type==\"Ready\")].status");
  CHECK(table["rows"][0]["cells"] == json::array({"a", 3, "True"}));
  std::string other = "/apis/example.com/v2/namespaces/default/widgets";
  table = json::parse(*test.call_as("application/json;as=Table;v=v1;g=meta.k8s.io", other).body);
  CHECK(table["columnDefinitions"][1]["name"] == "Age");
  CHECK(test.get(other)["kind"] == "WidgetList");
  CHECK(test.get(other)["items"][0]["apiVersion"] == "example.com/v2");
}

TEST_CASE("strategic merge patches of custom objects are refused") {
  CustomApi test;
  test.define();
  Request patch = test.request("PATCH", "/apis/example.com/v1/namespaces/default/widgets/a", "{}");
  patch.headers.erase("Content-Type");
  patch.headers.emplace("Content-Type", "application/strategic-merge-patch+json");
  CHECK(test.call(patch).status == 415);
}
