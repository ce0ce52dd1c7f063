#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "api/gen/apiextensions.hpp"
#include "api/gen/core.hpp"
#include "api/gen/meta.hpp"
#include "api/gen/pod.hpp"
#include "api/json.hpp"
#include "api/protobuf.hpp"
#include "api/protobuf_choices.hpp"

using namespace skiff;
using namespace skiff::api;

namespace {

// Text of some shape for `field`, different for each field and depth.
std::string sample(const FieldInfo& field, int depth);

std::string sample_object(const TypeInfo& type, int depth) {
  std::string out = "{";
  if (type.kind) out += fmt::format(R"("apiVersion":"{}","kind":"{}")", type.kind->api_version(), type.kind->kind);
  for (const FieldInfo& field : type.fields) {
    if (depth > 0 && std::string_view(field.proto) == "0") continue;  // no protobuf field: see has_protobuf for whole kinds
    if (depth > 5 && field.value == ValueKind::Struct) continue;  // schemas that contain themselves
    if (out.size() > 1) out += ',';
    out += fmt::format(R"("{}":)", field.name);
    std::string value = sample(field, depth);
    if (field.shape == Shape::List) out += "[" + value + "," + value + "]";
    else if (field.shape == Shape::Map) out += R"({"a/b":)" + value + R"(,"c":)" + value + "}";
    else out += value;
  }
  return out + "}";
}

std::string sample(const FieldInfo& field, int depth) {
  switch (field.value) {
    case ValueKind::String: return fmt::format(R"("{}-{}")", field.name, depth);
    case ValueKind::Bool: return "true";
    case ValueKind::Int32: return "-7";
    case ValueKind::Int64: return "1234567890123";
    case ValueKind::Double: return "2.5";
    case ValueKind::Bytes: return R"("AAH/")";
    case ValueKind::Time: return R"("2026-01-02T03:04:05Z")";
    case ValueKind::MicroTime: return R"("2026-01-02T03:04:05.000006Z")";
    case ValueKind::Quantity: return R"("150m")";
    case ValueKind::IntOrString: return depth % 2 == 0 ? "8080" : R"("http")";
    case ValueKind::Raw:  // schemas, where protobuf has a message of their own
      return choice_of(field) == SchemaChoice::None ? R"({"a":[1,null,"x"]})" : R"({"type":"object"})";
    case ValueKind::Struct: return sample_object(field.type(), depth + 1);
    case ValueKind::StringList: return R"(["x",""])";
  }
  return "null";
}

std::string text(std::initializer_list<int> bytes) {
  std::string out;
  for (int byte : bytes) out += static_cast<char>(byte);
  return out;
}

}  // namespace

TEST_CASE("every kind with numbers survives protobuf") {
  int tried = 0;
  for (const KindInfo* kind : all_kinds()) {
    const TypeInfo& type = *kind->type;
    if (!type.ops || !has_protobuf(type)) continue;
    INFO(kind->api_version() << " " << kind->kind);
    std::shared_ptr<void> object = type.ops->make(), back = type.ops->make();
    Status decoded = decode_json(sample_object(type, 0), type, object.get());
    INFO((decoded.ok() ? "" : decoded.error().message()));
    REQUIRE(decoded.ok());
    Result<std::string> json = json_from_protobuf(encode_protobuf(type, object.get()), type);
    REQUIRE(json.ok());
    DecodeReport report;
    REQUIRE(decode_json(json.value(), type, back.get(), &report).ok());
    CHECK(report.kind == kind->kind);
    CHECK(report.api_version == kind->api_version());
    CHECK(encode_json(type, back.get()) == encode_json(type, object.get()));
    ++tried;
  }
  CHECK(tried > 60);
}

TEST_CASE("what is one thing or another in a schema survives protobuf") {
  const char* schema = GENERATE(R"({"items":{"type":"string","items":{"type":"integer"}}})",
                                R"({"items":[{"type":"string"},{"type":"integer"}]})", R"({"additionalProperties":true})",
                                R"({"additionalProperties":false})", R"({"additionalItems":{"maxLength":3}})",
                                R"({"dependencies":{"a":["b","c"],"d":{"type":"object"}}})",
                                R"({"default":null,"enum":["a",1],"example":{"x":[]}})");
  CustomResourceDefinition before, after;
  CustomResourceDefinitionVersion& version = before.spec.versions.emplace_back();
  version.schema.emplace().openAPIV3Schema.emplace() = from_json<JSONSchemaProps>(schema).value();
  const TypeInfo& type = type_of<CustomResourceDefinition>();
  Result<std::string> json = json_from_protobuf(encode_protobuf(type, &before), type);
  REQUIRE(json.ok());
  REQUIRE(decode_json(json.value(), type, &after).ok());
  auto written = [](const CustomResourceDefinition& crd) {
    return nlohmann::json::parse(to_json(*crd.spec.versions.at(0).schema->openAPIV3Schema));
  };
  CHECK(written(after) == written(before));
}

TEST_CASE("protobuf is what Kubernetes writes") {
  ConfigMap map;
  map.metadata.name = "m";
  map.data["k"] = "v";
  std::string name = text({0x0a, 3, 0x0a, 1, 'm'});
  std::string data = text({0x12, 6, 0x0a, 1, 'k', 0x12, 1, 'v'});
  std::string type = text({0x0a, 15, 0x0a, 2}) + "v1" + text({0x12, 9}) + "ConfigMap";
  std::string want = text({'k', '8', 's', 0}) + type + text({0x12, 13}) + name + data;
  CHECK(encode_protobuf(type_of<ConfigMap>(), &map) == want);

  std::string frame = protobuf_watch_frame("ADDED", "doc");
  CHECK(frame == text({0, 0, 0, 14, 0x0a, 5}) + "ADDED" + text({0x12, 5, 0x0a, 3}) + "doc");
}

TEST_CASE("lists and partial metadata in protobuf") {
  ConfigMap one, two;
  one.metadata.name = "a";
  two.metadata.name = "b";
  ListMeta metadata;
  metadata.resourceVersion = "7";
  std::string list = encode_protobuf_list({"v1", "ConfigMapList", &type_of<ConfigMap>(), {&one, &two}}, metadata);
  std::string items = text({0x0a, 3, 0x12, 1, '7', 0x12, 5, 0x0a, 3, 0x0a, 1, 'a', 0x12, 5, 0x0a, 3, 0x0a, 1, 'b'});
  CHECK(list.ends_with(text({0x12, static_cast<int>(items.size())}) + items));
  CHECK(list.find("ConfigMapList") != std::string::npos);
  std::string partial = encode_protobuf_metadata("meta.k8s.io/v1", one.metadata);
  CHECK(partial.find("PartialObjectMetadata") != std::string::npos);
  CHECK(partial.ends_with(text({0x0a, 3, 0x0a, 1, 'a'})));
  std::string partials = encode_protobuf_metadata_list("meta.k8s.io/v1", {&one.metadata}, metadata);
  CHECK(partials.ends_with(text({0x0a, 3, 0x12, 1, '7', 0x12, 5, 0x0a, 3, 0x0a, 1, 'a'})));
}
