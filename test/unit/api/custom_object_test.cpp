#include <catch2/catch.hpp>

#include "api/custom_object.hpp"
#include "api/defaults.hpp"
#include "api/json.hpp"
#include "api/open_type.hpp"

using namespace skiff;
using namespace skiff::api;

namespace {

// Knows "spec" only, and gives it to objects that have none.
class SpecOnly final : public OpenType {
 public:
  void prune(void* object, std::vector<std::string>& unknown) const override {
    Raw& rest = static_cast<CustomObject*>(object)->rest;
    if (rest.json.find("\"junk\"") == std::string::npos) return;
    unknown.push_back("unknown field \"junk\"");
    rest.json.clear();
  }
  void apply_defaults(void* object) const override {
    Raw& rest = static_cast<CustomObject*>(object)->rest;
    if (rest.json.empty()) rest.json = R"({"spec":{}})";
  }
};

struct Widget {
  SpecOnly open;
  KindInfo kind{.group = "example.com", .version = "v1", .kind = "Widget", .plural = "widgets", .singular = "widget",
                .short_names = "", .categories = "", .verbs = "get", .namespaced = true, .subresources = {},
                .columns = {}, .type = &type};
  TypeInfo type{"Widget", "com.example.v1.Widget", "", "", false, custom_object_fields(), &kind,
                &custom_object_ops(), &open};
};

}  // namespace

TEST_CASE("an open type keeps what no field describes") {
  Widget widget;
  CustomObject object;
  DecodeReport report;
  REQUIRE(decode_json(R"({"apiVersion":"example.com/v1","kind":"Widget","spec":{"a":[1,2.50,{"b":null}],"":"x"},)"
                      R"("metadata":{"name":"w"},"on":true,"none":null,"":3})",
                      widget.type, &object, &report)
              .ok());
  CHECK(report.strict.empty());
  CHECK(report.kind == "Widget");
  CHECK(object.metadata.name == "w");
  CHECK(object.rest.json == R"({"spec":{"a":[1,2.50,{"b":null}],"":"x"},"on":true,"none":null,"":3})");
  CHECK(encode_json(widget.type, &object) ==
        R"({"kind":"Widget","apiVersion":"example.com/v1","metadata":{"name":"w"},)"
        R"("spec":{"a":[1,2.50,{"b":null}],"":"x"},"on":true,"none":null,"":3})");
  CustomObject again;
  REQUIRE(decode_json(encode_json(widget.type, &object), widget.type, &again).ok());
  CHECK(again == object);
}

TEST_CASE("duplicates are noticed inside what an open type keeps") {
  Widget widget;
  CustomObject object;
  DecodeReport report;
  REQUIRE(decode_json(R"({"spec":{"a":1,"l":[{"b":1},{"c":[],"c":2}],"a":2},"metadata":{"nme":"x"},"spec":{}})",
                      widget.type, &object, &report)
              .ok());
  CHECK(report.strict == std::vector<std::string>{R"(duplicate field "spec.l[1].c")", R"(duplicate field "spec.a")",
                                                  R"(unknown field "metadata.nme")", R"(duplicate field "spec")"});
}

TEST_CASE("an open type prunes what is decoded and defaults it") {
  Widget widget;
  CustomObject object;
  DecodeReport report;
  REQUIRE(decode_json(R"({"junk":1})", widget.type, &object, &report).ok());
  CHECK(report.strict == std::vector<std::string>{R"(unknown field "junk")"});
  CHECK(object.rest.json.empty());
  apply_defaults(widget.type, &object);
  CHECK(object.rest.json == R"({"spec":{}})");
}
