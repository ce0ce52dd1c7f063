#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "api/gen/apps.hpp"
#include "api/gen/core.hpp"
#include "api/gen/pod.hpp"
#include "api/json.hpp"

using namespace skiff;
using namespace skiff::api;

namespace {

const char* const kDeployment = R"({"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"web","labels":)"
                                R"({"app":"web"}},"spec":{"replicas":0,"selector":{"matchLabels":{"app":"web"}},)"
                                R"("template":{"metadata":{},"spec":{"containers":[{"name":"c","image":"x:1",)"
                                R"("ports":[{"hostPort":80,"containerPort":8080}],"resources":{"limits":{"cpu":"500m",)"
                                R"("memory":"1Gi"}}}]}},"strategy":{"rollingUpdate":{"maxUnavailable":"25%",)"
                                R"("maxSurge":2}}},"status":{}})";

std::string message_of(const char* text) {
  Pod pod;
  Status decoded = decode_json(text, type_of<Pod>(), &pod);
  return decoded.ok() ? "" : decoded.error().message();
}

}  // namespace

TEST_CASE("a typed object survives JSON both ways") {
  Result<Deployment> decoded = from_json<Deployment>(kDeployment);
  REQUIRE(decoded.ok());
  const Deployment& web = decoded.value();
  CHECK(web.spec.replicas == 0);
  CHECK(web.spec.template_.spec.containers[0].ports[0].containerPort == 8080);
  CHECK(web.spec.template_.spec.containers[0].resources.limits.at("memory").value() == 1073741824);
  CHECK(web.spec.strategy.rollingUpdate->maxUnavailable->text == "25%");
  std::string text = to_json(web);
  CHECK(from_json<Deployment>(text).value() == web);
  CHECK(text.find(R"("kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"web")") == 1);
  CHECK(text.find(R"("replicas":0)") != std::string::npos);
}

TEST_CASE("a parsed document decodes like its text") {
  Deployment from_document;
  REQUIRE(decode_document(parse_json(kDeployment).value(), type_of<Deployment>(), &from_document).ok());
  CHECK(from_document == from_json<Deployment>(kDeployment).value());
}

TEST_CASE("strict problems are reported with their path") {
  Pod pod;
  DecodeReport report;
  REQUIRE(decode_json(R"({"kind":"Pod","apiVersion":"v1","bogus":{"a":[1]},"spec":{"containers":[{"name":"a"},
                          {"name":"b","name":"c","imagee":"x"}]}})",
                      type_of<Pod>(), &pod, &report)
              .ok());
  CHECK(report.kind == "Pod");
  CHECK(report.api_version == "v1");
  CHECK(report.strict == std::vector<std::string>{"unknown field \"bogus\"",
                                                  "duplicate field \"spec.containers[1].name\"",
                                                  "unknown field \"spec.containers[1].imagee\""});
  CHECK(pod.spec.containers[1].name == "c");
}

TEST_CASE("wrong types are refused in Go's words") {
  CHECK(message_of(R"({"spec":{"containers":[{"name":5}]}})") ==
        "json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string");
  CHECK(message_of(R"({"spec":{"containers":"x"}})") ==
        "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container");
  CHECK(message_of(R"({"spec":{"priority":3000000000}})") ==
        "json: cannot unmarshal number 3000000000 into Go struct field PodSpec.spec.priority of type int32");
  CHECK(message_of(R"([])") == "json: cannot unmarshal array into Go value of type v1.Pod");
  CHECK(message_of(R"({"spec":)") != "");
  CHECK(message_of(("{\"x\":" + std::string(100000, '[')).c_str()) == "exceeded max depth");
}

TEST_CASE("arbitrary JSON is kept as text") {
  ObjectMeta meta;
  REQUIRE(decode_json(R"({"managedFields":[{"manager":"m","fieldsV1":{"f:a":{"b":[1,"x",{"c":null}]},"d":{}}}]})",
                      type_of<ObjectMeta>(), &meta)
              .ok());
  CHECK(meta.managedFields[0].fieldsV1.json == R"({"f:a":{"b":[1,"x",{"c":null}]},"d":{}})");
  CHECK(parse_json(std::string(1000, '[')).ok() == false);
}

TEST_CASE("the place of the resourceVersion is known") {
  ConfigMap map;
  map.metadata.name = "a";
  map.data["k"] = "line\n\"quoted\"\x01";
  Encoded encoded = encode_json(type_of<ConfigMap>(), &map, {.splice = &map.metadata.resourceVersion});
  REQUIRE(encoded.position);
  encoded.text.insert(*encoded.position, "42");
  CHECK(encoded.text == R"({"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"42"},)"
                        R"("data":{"k":"line\n\"quoted\"\u0001"}})");
}

TEST_CASE("bad syntax is named as Go names it") {
  auto [text, words] = GENERATE(table<const char*, const char*>({
      {R"({"metadata":)", "unexpected end of JSON input"},
      {R"({"a":b})", "invalid character 'b' looking for beginning of value"},
      {R"({"a" 1})", "invalid character '1' after object key"},
      {R"({"a":1 2})", "invalid character '2' after object key:value pair"},
      {R"({"a":[1 2]})", "invalid character '2' after array element"},
      {R"({a:1})", "invalid character 'a' looking for beginning of object key string"},
  }));
  CHECK(parse_json(text).error().message() == words);
}
