#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "api/gen/apps.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/service.hpp"
#include "api/defaults.hpp"
#include "api/json.hpp"
#include "api/patch.hpp"
#include "api/selector.hpp"

using namespace skiff;
using namespace skiff::api;
using nlohmann::json;

TEST_CASE("strategic merge") {
  struct Row {
    const char* name;
    const char* original;
    const char* patch;
    const char* want;
  };
  for (const Row& row : {
           Row{"containers merge by name", R"({"spec":{"containers":[{"name":"a","image":"x"},{"name":"b"}]}})",
               R"({"spec":{"containers":[{"name":"b","image":"y"},{"name":"c"}]}})",
               R"({"spec":{"containers":[{"name":"a","image":"x"},{"image":"y","name":"b"},{"name":"c"}]}})"},
           Row{"an element is deleted", R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})",
               R"({"spec":{"containers":[{"name":"a","$patch":"delete"}]}})",
               R"({"spec":{"containers":[{"name":"b"}]}})"},
           Row{"a list is replaced", R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})",
               R"({"spec":{"containers":[{"name":"z"},{"$patch":"replace"}]}})",
               R"({"spec":{"containers":[{"name":"z"}]}})"},
           Row{"null removes", R"({"metadata":{"labels":{"a":"1","b":"2"}}})", R"({"metadata":{"labels":{"a":null}}})",
               R"({"metadata":{"labels":{"b":"2"}}})"},
           Row{"atomic lists are replaced", R"({"spec":{"containers":[{"name":"a","args":["1","2"]}]}})",
               R"({"spec":{"containers":[{"name":"a","args":["3"]}]}})",
               R"({"spec":{"containers":[{"args":["3"],"name":"a"}]}})"},
           Row{"primitive lists merge", R"({"metadata":{"finalizers":["a"]}})", R"({"metadata":{"finalizers":["b","a"]}})",
               R"({"metadata":{"finalizers":["a","b"]}})"},
           Row{"primitives are deleted from a list", R"({"metadata":{"finalizers":["a","b"]}})",
               R"({"metadata":{"$deleteFromPrimitiveList/finalizers":["a"]}})", R"({"metadata":{"finalizers":["b"]}})"},
           Row{"the order is set", R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})",
               R"({"spec":{"$setElementOrder/containers":[{"name":"c"},{"name":"b"},{"name":"a"}],
                   "containers":[{"name":"c"}]}})",
               R"({"spec":{"containers":[{"name":"c"},{"name":"b"},{"name":"a"}]}})"},
           Row{"retainKeys", R"({"spec":{"volumes":[{"name":"v","emptyDir":{}}]}})",
               R"({"spec":{"volumes":[{"name":"v","$retainKeys":["name","hostPath"],"hostPath":{"path":"/x"}}]}})",
               R"({"spec":{"volumes":[{"hostPath":{"path":"/x"},"name":"v"}]}})"},
           Row{"a delete of what is not there", R"({"spec":{"containers":[{"name":"a"}]}})",
               R"({"spec":{"containers":[{"name":"q","$patch":"delete"}]}})", R"({"spec":{"containers":[{"name":"a"}]}})"},
           Row{"an object is deleted", R"({"spec":{"securityContext":{"runAsUser":1}}})",
               R"({"spec":{"securityContext":{"$patch":"delete"}}})", R"({"spec":{"securityContext":{}}})"},
           Row{"merge, said", R"({"metadata":{"labels":{"a":"1"}}})", R"({"metadata":{"labels":{"$patch":"merge","b":"2"}}})",
               R"({"metadata":{"labels":{"a":"1","b":"2"}}})"},
           Row{"two lists in a list", R"({"spec":{"containers":[{"name":"a","env":[{"name":"X","value":"1"}]}]}})",
               R"({"spec":{"containers":[{"name":"a","env":[{"name":"Y","value":"2"},{"name":"X","$patch":"delete"}]}]}})",
               R"({"spec":{"containers":[{"env":[{"name":"Y","value":"2"}],"name":"a"}]}})"},
           Row{"env becomes valueFrom", R"({"spec":{"containers":[{"name":"a","env":[{"name":"X","value":"1"}]}]}})",
               R"({"spec":{"containers":[{"name":"a","env":[{"name":"X","value":null,"valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}]}]}})",
               R"({"spec":{"containers":[{"env":[{"name":"X","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}],"name":"a"}]}})"},
           Row{"ports merge by number", R"({"spec":{"containers":[{"name":"a","ports":[{"containerPort":80},{"containerPort":81}]}]}})",
               R"({"spec":{"containers":[{"name":"a","ports":[{"containerPort":81,"name":"x"},{"containerPort":80,"$patch":"delete"}]}]}})",
               R"({"spec":{"containers":[{"name":"a","ports":[{"containerPort":81,"name":"x"}]}]}})"},
           Row{"the order of elements nobody patches", R"({"spec":{"containers":[{"name":"a"},{"name":"b"},{"name":"c"}]}})",
               R"({"spec":{"$setElementOrder/containers":[{"name":"c"},{"name":"a"}]}})",
               R"({"spec":{"containers":[{"name":"b"},{"name":"c"},{"name":"a"}]}})"},
           Row{"nulls in what is new are dropped", R"({"spec":{}})", R"({"spec":{"containers":[{"name":"a","image":null}]}})",
               R"({"spec":{"containers":[{"name":"a"}]}})"},
           Row{"a list becomes empty", R"({"metadata":{"finalizers":["a"]}})",
               R"({"metadata":{"$deleteFromPrimitiveList/finalizers":["a"],"$setElementOrder/finalizers":[]}})",
               R"({"metadata":{"finalizers":[]}})"},
           Row{"tolerations are atomic", R"({"spec":{"tolerations":[{"key":"a"}]}})", R"({"spec":{"tolerations":[{"key":"b"}]}})",
               R"({"spec":{"tolerations":[{"key":"b"}]}})"},
           Row{"a map is replaced whole", R"({"metadata":{"labels":{"a":"1"}}})",
               R"({"metadata":{"labels":{"$patch":"replace","b":"2"}}})", R"({"metadata":{"labels":{"b":"2"}}})"},
       }) {
    DYNAMIC_SECTION(row.name) {
      Result<json> merged = apply_strategic_patch(json::parse(row.original), json::parse(row.patch), type_of<Pod>());
      REQUIRE(merged.ok());
      CHECK(merged.value().dump() == json::parse(row.want).dump());
    }
  }
  CHECK_FALSE(apply_strategic_patch(json::parse(R"({"spec":{}})"), json::parse(R"({"spec":{"$patch":"bogus"}})"),
                                    type_of<Pod>()).ok());
}

TEST_CASE("json patch") {
  json document = {{"a", 1}};
  CHECK(apply_json_patch(document, json::parse(R"([{"op":"replace","path":"/a","value":2}])")).value()["a"] == 2);
  CHECK(apply_json_patch(document, json::parse(R"([{"op":"test","path":"/a","value":2}])")).error().code() == Code::Invalid);
  Error missing = apply_json_patch(document, json::parse(R"([{"op":"remove","path":"/zz"}])")).error();
  CHECK(missing.code() == Code::Invalid);
  CHECK(missing.message() == "the server rejected our request due to an error in our request");
  CHECK(apply_json_patch(document, json::parse(R"({"op":"x"})")).error().code() == Code::BadRequest);
}

TEST_CASE("label selectors") {
  Labels labels = {{"app", "web"}, {"tier", "front"}, {"n", "5"}};
  struct Row {
    const char* text;
    bool want;
  };
  for (const Row& row : {Row{"", true}, Row{"app=web", true}, Row{"app==web,tier!=back", true}, Row{"app in (a, web)", true},
                         Row{"app notin (web)", false}, Row{"!missing", true}, Row{"tier", true}, Row{"!tier", false},
                         Row{"n>4", true}, Row{"n<4", false}, Row{"missing!=x", true}, Row{"missing in (x)", false}}) {
    DYNAMIC_SECTION(row.text) { CHECK(Selector::parse(row.text).value().matches(labels) == row.want); }
  }
  for (const char* bad : {"a in", "a in (b", "=x", "a=b c", "a?b", "a==b==c", "-a=b", "a=b,"})
    CHECK_FALSE(Selector::parse(bad).ok());
  CHECK(Selector::parse("b in (y,x),a=1").value().text() == "a=1,b in (x,y)");
}

TEST_CASE("defaults") {
  Deployment web = from_json<Deployment>(R"({"spec":{"template":{"spec":{"containers":[{"name":"a","image":"x"},
      {"name":"b","image":"r:5000/y:1","ports":[{"containerPort":80}],"livenessProbe":{"httpGet":{"port":80}}}],
      "volumes":[{"name":"v"},{"name":"c","configMap":{"name":"m"}}]}}}})").value();
  apply_defaults(web);
  const PodSpec& spec = web.spec.template_.spec;
  CHECK(web.spec.replicas == 1);
  CHECK(web.spec.strategy.rollingUpdate->maxSurge->text == "25%");
  CHECK(spec.containers[0].imagePullPolicy == "Always");
  CHECK(spec.containers[1].imagePullPolicy == "IfNotPresent");
  CHECK(spec.containers[1].ports[0].protocol == "TCP");
  CHECK(spec.containers[1].livenessProbe->periodSeconds == 10);
  CHECK(spec.containers[1].livenessProbe->httpGet->scheme == "HTTP");
  CHECK(spec.terminationGracePeriodSeconds == 30);
  CHECK(spec.volumes[0].emptyDir);
  CHECK_FALSE(spec.volumes[1].emptyDir);
  CHECK(spec.volumes[1].configMap->defaultMode == 420);
  Deployment again = web;
  apply_defaults(again);
  CHECK(again == web);
}

TEST_CASE("every constant default of the schema decodes") {
  for (const KindInfo* kind : all_kinds()) {
    std::shared_ptr<void> object = kind->type->ops->make();
    apply_defaults(*kind->type, object.get());
    std::string once = encode_json(*kind->type, object.get());
    apply_defaults(*kind->type, object.get());
    CHECK(encode_json(*kind->type, object.get()) == once);
  }
}

TEST_CASE("metadata comes first in every stored kind") {
  for (const KindInfo* kind : all_kinds())
    if (kind->is_resource()) {
      INFO(kind->kind);
      REQUIRE_FALSE(kind->type->fields.empty());
      CHECK(std::string(kind->type->fields[0].name) == "metadata");
      CHECK(kind->type->fields[0].offset == 0);
    }
}

TEST_CASE("a JSON patch has a limit") {
  json patch = json::array();
  for (int i = 0; i < 10000; ++i) patch.push_back({{"op", "add"}, {"path", "/a"}, {"value", i}});
  CHECK(apply_json_patch(json::object(), patch).value()["a"] == 9999);
  patch.push_back({{"op", "test"}, {"path", "/a"}, {"value", 9999}});
  Result<json> refused = apply_json_patch(json::object(), patch);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code() == Code::TooLarge);
  CHECK(refused.error().message() ==
        "Request entity is too large: The allowed maximum operations in a JSON patch is 10000, got 10001");
}

TEST_CASE("a number that no double holds is refused, not thrown") {
  Result<json> parsed = parse_json(R"({"spec":{"replicas":3e+202222}})");
  REQUIRE_FALSE(parsed.ok());
  CHECK(parsed.error().code() == Code::BadRequest);
}
