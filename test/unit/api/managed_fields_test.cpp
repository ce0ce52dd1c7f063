#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "api/defaults.hpp"
#include "api/field_changes.hpp"
#include "api/gen/apps.hpp"
#include "api/gen/core.hpp"
#include "api/gen/pod.hpp"
#include "api/json.hpp"
#include "api/managed_fields.hpp"
#include "api/merge.hpp"
#include "api/status.hpp"

using namespace skiff;
using namespace skiff::api;
using nlohmann::json;

namespace {

Time at(int seconds) { return Time::from(WallTime(std::chrono::seconds(1'800'000'000 + seconds))); }

std::string changes_text(const TypeInfo& type, const char* old, const char* next) {
  std::shared_ptr<void> a = type.ops->make(), b = type.ops->make();
  REQUIRE(decode_json(old, type, a.get()).ok());
  REQUIRE(decode_json(next, type, b.get()).ok());
  constexpr std::string_view kIgnored[] = {"status"};
  FieldChanges changes = compare_objects(type, a.get(), b.get(), kIgnored);
  return "+" + changes.added.json() + " -" + changes.removed.json() + " ~" + changes.modified.json();
}

}  // namespace

TEST_CASE("sets of fields") {
  FieldSet a = FieldSet::parse(R"({"f:spec":{"f:b":{},"f:a":{".":{},"f:x":{}}},"f:metadata":{}})").value();
  CHECK(a.json() == R"({"f:metadata":{},"f:spec":{"f:a":{".":{},"f:x":{}},"f:b":{}}})");
  CHECK(a.has(FieldSet::Path{"f:spec", "f:a"}));
  CHECK_FALSE(a.has("f:spec"));
  FieldSet b = FieldSet::parse(R"({"f:spec":{"f:a":{},"f:c":{}}})").value();
  CHECK(a.united(b).json() == R"({"f:metadata":{},"f:spec":{"f:a":{".":{},"f:x":{}},"f:b":{},"f:c":{}}})");
  CHECK(a.intersected(b).json() == R"({"f:spec":{"f:a":{}}})");
  CHECK(a.without(b).json() == R"({"f:metadata":{},"f:spec":{"f:a":{"f:x":{}},"f:b":{}}})");
  CHECK(a.without_trees(b).json() == R"({"f:metadata":{},"f:spec":{"f:b":{}}})");
  CHECK(a.leaves().json() == R"({"f:metadata":{},"f:spec":{"f:a":{"f:x":{}},"f:b":{}}})");
  CHECK(FieldSet::parse(R"({"f:p":{"k:{\"b\": 1, \"a\":\"x\"}":{}}})").value().json() ==
        R"({"f:p":{"k:{\"a\":\"x\",\"b\":1}":{}}})");
  CHECK(FieldSet::parse(R"({"k:{\"p\":443}":{},"k:{\"p\":80}":{}})").value().json() ==
        R"({"k:{\"p\":80}":{},"k:{\"p\":443}":{}})");
  for (const char* bad : {"", "[]", R"({"x":{}})", R"({"f:a":1})", R"({"f:a":{})", R"({"k:1":{}})", R"({"f:a":{}} x)"})
    CHECK_FALSE(FieldSet::parse(bad).ok());
  CHECK(path_text({"f:spec", R"(k:{"containerPort":80,"protocol":"TCP"})", R"(v:"x")", "i:2"}) ==
        R"(.spec[containerPort=80,protocol="TCP"][="x"][2])");
}

TEST_CASE("what a write changes, by the descriptors") {
  struct Row {
    const char* name;
    const char* old;
    const char* next;
    const char* want;
  };
  for (const Row& row : {
           Row{"system metadata and the ignored do not count", R"({"metadata":{"name":"a"}})",
               R"({"metadata":{"name":"b","uid":"u","resourceVersion":"3"},"status":{"phase":"x"}})", "+{} -{} ~{}"},
           Row{"maps by key", R"({"metadata":{"labels":{"a":"1","b":"2"}}})", R"({"metadata":{"labels":{"b":"3","c":"4"}}})",
               R"(+{"f:metadata":{"f:labels":{"f:c":{}}}} -{"f:metadata":{"f:labels":{"f:a":{}}}} ~{"f:metadata":{"f:labels":{"f:b":{}}}})"},
           Row{"a new container with all it holds; keys default", R"({})",
               R"({"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80}]}]}})",
               R"(+{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{},)"
               R"("f:ports":{".":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}},)"
               R"("f:resources":{}}}}} -{} ~{})"},
           Row{"atomic lists and structs change whole", R"({"spec":{"containers":[{"name":"c","args":["a"]}],"nodeSelector":{"a":"1"}}})",
               R"({"spec":{"containers":[{"name":"c","args":["a","b"]}],"nodeSelector":{"a":"1","b":"2"}}})",
               R"(+{} -{} ~{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{"f:args":{}}},"f:nodeSelector":{}}})"},
           Row{"sets by value", R"({"metadata":{"finalizers":["a","b"]}})", R"({"metadata":{"finalizers":["b","c"]}})",
               R"(+{"f:metadata":{"f:finalizers":{"v:\"c\"":{}}}} -{"f:metadata":{"f:finalizers":{"v:\"a\"":{}}}} ~{})"},
       }) {
    INFO(row.name);
    CHECK(changes_text(type_of<Pod>(), row.old, row.next) == row.want);
  }
}

TEST_CASE("documents compare as typed objects do") {
  const char* old = R"({"metadata":{"labels":{"a":"1"},"finalizers":["x"]},"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},
    "template":{"spec":{"containers":[{"name":"c","image":"i","env":[{"name":"A","value":"1"}]}]}}}})";
  const char* next = R"({"metadata":{"finalizers":["x","y"]},"spec":{"replicas":2,"selector":{"matchLabels":{"a":"c"}},
    "template":{"spec":{"containers":[{"name":"c","image":"j"},{"name":"d","ports":[{"containerPort":1}]}]}}}})";
  const TypeInfo& type = type_of<Deployment>();
  Deployment a, b;
  REQUIRE(decode_json(old, type, &a).ok());
  REQUIRE(decode_json(next, type, &b).ok());
  FieldChanges typed = compare_objects(type, &a, &b, {});
  FieldChanges plain = compare_documents(json::parse(to_json(a)), json::parse(to_json(b)), MergeSchema::of(type));
  CHECK(typed.added.json() == plain.added.json());
  CHECK(typed.removed.json() == plain.removed.json());
  CHECK(typed.modified.json() == plain.modified.json());
  CHECK_FALSE(typed.removed.empty());
}

TEST_CASE("structured merge") {
  struct Row {
    const char* name;
    const char* live;
    const char* applied;
    const char* want;
  };
  for (const Row& row : {
           Row{"maps merge", R"({"metadata":{"labels":{"a":"1","b":"2"}}})", R"({"metadata":{"labels":{"b":"3"}}})",
               R"({"metadata":{"labels":{"a":"1","b":"3"}}})"},
           Row{"elements merge by key, applied order leads", R"({"spec":{"containers":[{"name":"a","image":"x"},{"name":"b"},{"name":"c"}]}})",
               R"({"spec":{"containers":[{"name":"c"},{"name":"a","tty":true}]}})",
               R"({"spec":{"containers":[{"name":"b"},{"name":"c"},{"image":"x","name":"a","tty":true}]}})"},
           Row{"sets unite", R"({"metadata":{"finalizers":["a","b"]}})", R"({"metadata":{"finalizers":["c","b"]}})",
               R"({"metadata":{"finalizers":["a","c","b"]}})"},
           Row{"atomic lists are replaced", R"({"spec":{"containers":[{"name":"a","args":["1","2"]}]}})",
               R"({"spec":{"containers":[{"name":"a","args":["3"]}]}})", R"({"spec":{"containers":[{"args":["3"],"name":"a"}]}})"},
           Row{"atomic maps are replaced", R"({"spec":{"nodeSelector":{"a":"1"}}})", R"({"spec":{"nodeSelector":{"b":"1"}}})",
               R"({"spec":{"nodeSelector":{"b":"1"}}})"},
       }) {
    INFO(row.name);
    CHECK(merged(json::parse(row.live), json::parse(row.applied), MergeSchema::of(type_of<Pod>())) == json::parse(row.want));
  }
}

namespace {

struct Applied {
  ManagedFields managed;
  json live;

  Status apply(const char* manager, const char* body, bool force = false, MergeSchema schema = MergeSchema::of(type_of<Deployment>())) {
    json applied = json::parse(body);
    Result<std::optional<json>> next =
        managed.apply(live, {applied, schema, {manager, "apps/v1", "", true}, force, {"status"}, at(++now)});
    if (!next.ok()) return std::move(next).error();
    if (next.value()) live = *next.value();
    return ok();
  }
  void write(const char* manager, const char* next, MergeSchema schema = MergeSchema::of(type_of<Deployment>())) {
    json document = json::parse(next);
    REQUIRE(managed.update(compare_documents(live, document, schema), {manager, "apps/v1", "", false}, at(++now)).ok());
    live = document;
  }
  std::string of(const std::string& manager) const {
    for (const ManagedFieldsEntry& one : managed.encode())
      if (one.manager == manager) return one.fieldsV1.json;
    return "";
  }
  int now = 0;
};

}  // namespace

TEST_CASE("appliers own what they send, and what they no longer send goes") {
  Applied o{.managed = {}, .live = json::object(), .now = 0};
  REQUIRE(o.apply("me", R"({"metadata":{"name":"x","labels":{"a":"1","b":"1"}},"spec":{"replicas":2},"status":{"replicas":3}})").ok());
  CHECK(o.of("me") == R"({"f:metadata":{"f:labels":{"f:a":{},"f:b":{}}},"f:spec":{"f:replicas":{}}})");
  REQUIRE(o.apply("you", R"({"metadata":{"name":"x","labels":{"b":"1","c":"1"}}})").ok());
  // b is shared and stays; a was mine alone; c is yours; replicas was mine alone.
  REQUIRE(o.apply("me", R"({"metadata":{"name":"x"}})").ok());
  CHECK(o.live["metadata"]["labels"] == json::parse(R"({"b":"1","c":"1"})"));
  CHECK_FALSE(o.live.contains("spec"));
  CHECK(o.of("me").empty());
}

TEST_CASE("conflicts name the owner, and force takes over") {
  Applied o{.managed = {}, .live = json::object(), .now = 0};
  o.write("kubectl-client-side-apply", R"({"spec":{"replicas":1,"paused":true}})");
  Status refused = o.apply("me", R"({"spec":{"replicas":2}})");
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code() == Code::Conflict);
  CHECK(refused.error().message() ==
        R"(Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas)");
  REQUIRE(detail_of(refused.error())->causes.size() == 1);
  CHECK(detail_of(refused.error())->causes[0].reason == "FieldManagerConflict");
  CHECK(detail_of(refused.error())->causes[0].field == ".spec.replicas");
  Status both = o.apply("me", R"({"spec":{"replicas":2,"paused":false}})");
  CHECK(both.error().message() ==
        "Apply failed with 2 conflicts: conflicts with \"kubectl-client-side-apply\" using apps/v1:\n- .spec.paused\n- .spec.replicas");
  CHECK(o.live["spec"]["replicas"] == 1);
  REQUIRE(o.apply("me", R"({"spec":{"replicas":2}})", true).ok());
  CHECK(o.live["spec"]["replicas"] == 2);
  CHECK(o.of("kubectl-client-side-apply") == R"({"f:spec":{".":{},"f:paused":{}}})");
  // The same value from another applier is shared, not a conflict.
  CHECK(o.apply("you", R"({"spec":{"replicas":2}})").ok());
  CHECK_FALSE(o.apply("you", R"({"spec":{"replicas":5}})").ok());
}

TEST_CASE("elements of associative lists are owned one by one") {
  Applied o{.managed = {}, .live = json::object(), .now = 0};
  auto containers = [&] {
    std::string names;
    for (const json& one : o.live["spec"]["template"]["spec"]["containers"]) names += one["name"].get<std::string>();
    return names;
  };
  REQUIRE(o.apply("me", R"({"spec":{"template":{"spec":{"containers":[{"name":"a","image":"i"},{"name":"b","image":"i"}]}}}})").ok());
  REQUIRE(o.apply("you", R"({"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i"}]}}}})").ok());
  CHECK(containers() == "abc");
  REQUIRE(o.apply("me", R"({"spec":{"template":{"spec":{"containers":[{"name":"b","image":"j"}]}}}})").ok());
  CHECK(containers() == "bc");
  // Whoever states an element too keeps it.
  REQUIRE(o.apply("you", R"({"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i"},{"name":"b"}]}}}})").ok());
  REQUIRE(o.apply("me", R"({"spec":{"template":{"spec":{}}}})").ok());
  CHECK(o.live["spec"]["template"]["spec"]["containers"] == json::parse(R"([{"name":"c","image":"i"},{"name":"b"}])"));
}

TEST_CASE("kubectl may take over what kubectl apply wrote before") {
  Applied o{.managed = {}, .live = json::object(), .now = 0};
  o.write("kubectl-client-side-apply",
          R"({"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"spec\":{\"replicas\":1}}"}},"spec":{"replicas":1}})");
  CHECK(o.apply("kubectl", R"({"spec":{"replicas":2}})").ok());
  CHECK(o.live["spec"]["replicas"] == 2);
}

TEST_CASE("schemas of custom resources, and none") {
  json schema = json::parse(R"({"type":"object","properties":{"spec":{"type":"object","properties":{
    "ports":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["port","protocol"],
      "items":{"type":"object","properties":{"port":{"type":"integer"},"protocol":{"type":"string","default":"TCP"},"name":{"type":"string"}}}},
    "tags":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}},
    "plain":{"type":"array","items":{"type":"string"}},
    "whole":{"type":"object","x-kubernetes-map-type":"atomic","additionalProperties":{"type":"string"}},
    "open":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}})");
  MergeSchema custom = MergeSchema::custom(&schema);
  Applied o{.managed = {}, .live = json::object(), .now = 0};
  REQUIRE(o.apply("me", R"({"metadata":{"name":"x","labels":{"a":"1"}},"spec":{"ports":[{"port":1,"name":"n"}],"tags":["a"],"plain":["p"],
    "whole":{"k":"v"},"open":{"deep":{"er":1}}}})", false, custom).ok());
  CHECK(o.of("me") == R"({"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:open":{"f:deep":{".":{},"f:er":{}}},"f:plain":{},)"
                      R"("f:ports":{"k:{\"port\":1,\"protocol\":\"TCP\"}":{".":{},"f:name":{},"f:port":{}}},)"
                      R"("f:tags":{"v:\"a\"":{}},"f:whole":{}}})");
  CHECK(schema_problems(json::parse(R"({"apiVersion":"g/v1","kind":"K","metadata":{"nam":"x"},"spec":{"tags":["a","a"],"plain":"x","open":{"any":1},
    "more":1,"ports":[{"name":"n"}]}})"), custom) ==
        std::vector<std::string>{".metadata.nam: field not declared in schema", ".spec.more: field not declared in schema",
                                 R"(.spec.plain: expected list, got "x")",
                                 ".spec.ports: element 0: associative list with keys has an element that omits key field "
                                 "\"port\" (and doesn't have default value)",
                                 R"(.spec.tags: duplicate entries for key [="a"])"});
  Applied free{.managed = {}, .live = json::object(), .now = 0};
  REQUIRE(free.apply("me", R"({"spec":{"list":[1,2],"map":{"a":1}}})", false, MergeSchema::custom(nullptr)).ok());
  CHECK(free.of("me") == R"({"f:spec":{".":{},"f:list":{},"f:map":{".":{},"f:a":{}}}})");
}

TEST_CASE("the managers' list stays short, in order, and keeps the times of what did not change") {
  Applied o{.managed = {}, .live = json::object(), .now = 0};
  json document = json::object();
  for (int i = 0; i < 13; ++i) {
    document["metadata"]["labels"][fmt::format("l{:02}", i)] = "1";
    o.write(fmt::format("m{:02}", i).c_str(), document.dump().c_str());
  }
  std::vector<ManagedFieldsEntry> entries = o.managed.encode();
  REQUIRE(entries.size() == 10);
  CHECK(entries[0].manager == "ancient-changes");
  CHECK(entries[0].fieldsV1.json.find("f:l03") != std::string::npos);
  CHECK(entries[9].manager == "m12");
  CHECK(entries[0].time < entries[1].time);
  ManagedFields again = ManagedFields::decode(entries).value();
  REQUIRE(again.update({}, {"m05", "apps/v1", "", false}, at(1000)).ok());
  CHECK(again.encode() == entries);
  CHECK(is_reset({ManagedFieldsEntry()}));
  CHECK_FALSE(is_reset({}));
  entries[2].operation = "Guess";
  CHECK_FALSE(ManagedFields::decode(entries).ok());
}
