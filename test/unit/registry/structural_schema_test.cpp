#include "registry/structural_schema.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "registry/crd_schema_rules.hpp"
#include "registry/json_path.hpp"
#include "registry/schema_validation.hpp"

using namespace skiff;
using namespace skiff::registry;
using Json = nlohmann::json;

namespace {

SchemaNode schema(const char* text) { return compile_schema(Json::parse(text)).value(); }

std::string text_of(const api::FieldErrors& errors) {
  std::string text;
  for (const api::FieldError& one : errors.all()) text += (text.empty() ? "" : "\n") + one.field + ": " + one.message;
  return text;
}

std::string problems(const char* schema_text, const char* value) {
  api::FieldErrors errors;
  SchemaNode node = schema(schema_text);
  validate_value(Json::parse(value), nullptr, node, errors);
  validate_embedded(Json::parse(value), node, errors);
  validate_lists(Json::parse(value), node, errors);
  return text_of(errors);
}

// A schema of one field "a" below "spec".
std::string field(const std::string& of) {
  return R"({"type":"object","properties":{"spec":{"type":"object","properties":{"a":)" + of + "}}}}";
}

}  // namespace

TEST_CASE("values are held against the schema in kube-apiserver's words") {
  struct Row {
    const char *name, *schema, *value, *want;
  };
  const char* oneof = R"({"type":"object","properties":{"x":{"type":"integer"},"y":{"type":"integer"}},)"
                      R"("oneOf":[{"required":["x"]},{"required":["y"]}]})";
  for (const Row& row : {
           Row{"type", R"({"type":"integer"})", R"("many")",
               R"(spec.a: Invalid value: "string": spec.a in body must be of type integer: "string")"},
           Row{"null", R"({"type":"string"})", "null",
               R"(spec.a: Invalid value: "null": spec.a in body must be of type string: "null")"},
           Row{"nullable", R"({"type":"string","nullable":true})", "null", ""},
           Row{"whole float is an integer", R"({"type":"integer"})", "2.0", ""},
           Row{"int-or-string takes both", R"({"x-kubernetes-int-or-string":true})", R"("25%")", ""},
           Row{"int-or-string refuses others", R"({"x-kubernetes-int-or-string":true})", "true",
               R"(spec.a: Invalid value: "boolean": spec.a in body must be of type integer,string: "boolean")"},
           Row{"minimum", R"({"type":"integer","minimum":1})", "0",
               "spec.a: Invalid value: 0: spec.a in body should be greater than or equal to 1"},
           Row{"exclusive maximum", R"({"type":"number","maximum":1.5,"exclusiveMaximum":true})", "1.5",
               "spec.a: Invalid value: 1.5: spec.a in body should be less than 1.5"},
           Row{"multipleOf", R"({"type":"integer","multipleOf":5})", "7",
               "spec.a: Invalid value: 7: spec.a in body should be a multiple of 5"},
           Row{"int32", R"({"type":"integer","format":"int32"})", "3000000000",
               "<nil>: Invalid value: \"\": Checked value must be of type integer with format int32 in spec.a"},
           Row{"minLength", R"({"type":"string","minLength":2})", R"("ä")",
               "spec.a: Invalid value: \"ä\": spec.a in body should be at least 2 chars long"},
           Row{"maxLength", R"({"type":"string","maxLength":2})", R"("abc")",
               "spec.a: Too long: may not be more than 2 bytes"},
           Row{"pattern", R"({"type":"string","pattern":"^[a-z]+$"})", R"("A")",
               "spec.a: Invalid value: \"A\": spec.a in body should match '^[a-z]+$'"},
           Row{"format", R"({"type":"string","format":"ipv4"})", R"("1.2.3")",
               R"(spec.a: Invalid value: "1.2.3": spec.a in body must be of type ipv4: "1.2.3")"},
           Row{"date-time", R"({"type":"string","format":"date-time"})", R"("2024-02-30")",
               R"(spec.a: Invalid value: "2024-02-30": spec.a in body must be of type date-time: "2024-02-30")"},
           Row{"unknown format", R"({"type":"string","format":"colour"})", R"("red")", ""},
           Row{"enum", R"({"type":"string","enum":["A","B"]})", R"("C")",
               R"(spec.a: Unsupported value: "C": supported values: "A", "B")"},
           Row{"minItems", R"({"type":"array","items":{"type":"string"},"minItems":1})", "[]",
               "spec.a: Invalid value: 0: spec.a in body should have at least 1 items"},
           Row{"maxItems", R"({"type":"array","items":{"type":"string"},"maxItems":1})", R"(["a","b"])",
               "spec.a: Too many: 2: must have at most 1 items"},
           Row{"items", R"({"type":"array","items":{"type":"string"}})", R"(["a",1])",
               R"(spec.a[1]: Invalid value: "integer": spec.a[1] in body must be of type string: "integer")"},
           Row{"required", R"({"type":"object","required":["b"],"properties":{"b":{"type":"string"}}})", "{}",
               "spec.a.b: Required value"},
           Row{"additionalProperties", R"({"type":"object","additionalProperties":{"type":"string"}})", R"({"k":1})",
               R"(spec.a.k: Invalid value: "integer": spec.a.k in body must be of type string: "integer")"},
           Row{"minProperties", R"({"type":"object","minProperties":1})", "{}",
               "spec.a: Invalid value: 0: spec.a in body should have at least 1 properties"},
           Row{"one of two", oneof, R"({"x":1})", ""},
           Row{"both of two", oneof, R"({"x":1,"y":2})",
               "<nil>: Invalid value: \"\": \"spec.a\" must validate one and only one schema (oneOf). Found 2 valid "
               "alternatives"},
           Row{"none of two", oneof, "{}",
               "<nil>: Invalid value: \"\": \"spec.a\" must validate one and only one schema (oneOf). Found none "
               "valid\nspec.a.x: Required value"},
           Row{"not", R"({"type":"string","not":{"enum":["x"]}})", R"("x")",
               "<nil>: Invalid value: \"\": \"spec.a\" must not validate the schema (not)"},
           Row{"set", R"({"type":"array","items":{"type":"string"},"x-kubernetes-list-type":"set"})", R"(["a","a"])",
               "spec.a[1]: Duplicate value: \"a\""},
           Row{"map", R"({"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["n"],)"
                      R"("items":{"type":"object","properties":{"n":{"type":"string"}}}})",
               R"([{"n":"a"},{"n":"b"},{"n":"a"}])", R"(spec.a[2]: Duplicate value: {"n":"a"})"},
           Row{"embedded", R"({"type":"object","x-kubernetes-embedded-resource":true,)"
                           R"("x-kubernetes-preserve-unknown-fields":true})",
               R"({"kind":"Pod","metadata":{"name":"A"}})",
               "spec.a.apiVersion: Required value: must not be empty\nspec.a.metadata.name: Invalid value: \"A\": a "
               "lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
               "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
               "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
       })
    DYNAMIC_SECTION(row.name) {
      std::string value = std::string(R"({"spec":{"a":)") + row.value + "}}";
      CHECK(problems(field(row.schema).c_str(), value.c_str()) == row.want);
    }
}

TEST_CASE("an update is not held to account for what it leaves alone") {
  SchemaNode node = schema(field(R"({"type":"string","maxLength":2})").c_str());
  Json old = Json::parse(R"({"spec":{"a":"long","b":1}})"), next = Json::parse(R"({"spec":{"a":"long","b":2}})");
  api::FieldErrors kept, changed;
  validate_value(next, &old, node, kept);
  CHECK(text_of(kept).empty());
  next["spec"]["a"] = "longer";
  validate_value(next, &old, node, changed);
  CHECK(text_of(changed) == "spec.a: Too long: may not be more than 2 bytes");
}

TEST_CASE("unknown members are pruned and named") {
  struct Row {
    const char *name, *schema, *value, *want;
    std::vector<std::string> dropped;
  };
  for (const Row& row : {
           Row{"at any depth",
               R"({"type":"object","properties":{"spec":{"type":"object","properties":{"l":{"type":"array","items":)"
               R"({"type":"object","properties":{"k":{"type":"string"}}}}}}}})",
               R"({"kind":"K","metadata":{"x":1},"spec":{"l":[{"k":"v","j":1}],"m":{}},"more":1})",
               R"({"kind":"K","metadata":{"x":1},"spec":{"l":[{"k":"v"}]}})",
               {"more", "spec.l[0].j", "spec.m"}},
           Row{"preserved ones stay, known ones below are pruned",
               R"({"type":"object","properties":{"spec":{"type":"object","x-kubernetes-preserve-unknown-fields":true,)"
               R"("properties":{"known":{"type":"object","properties":{"a":{"type":"string"}}}}}}})",
               R"({"spec":{"other":{"b":1},"known":{"a":"x","b":2}}})", R"({"spec":{"known":{"a":"x"},"other":{"b":1}}})",
               {"spec.known.b"}},
           Row{"maps keep every key",
               R"({"type":"object","properties":{"m":{"type":"object","additionalProperties":{"type":"object",)"
               R"("properties":{"a":{"type":"string"}}}}}})",
               R"({"m":{"k":{"a":"x","b":1}}})", R"({"m":{"k":{"a":"x"}}})", {"m.k.b"}},
           Row{"embedded resources keep their metadata's fields only",
               R"({"type":"object","properties":{"t":{"type":"object","x-kubernetes-embedded-resource":true,)"
               R"("properties":{"spec":{"type":"object"}}}}})",
               R"({"t":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","nme":"y"},"spec":{},"junk":1}})",
               R"({"t":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{}}})",
               {"t.junk", "t.metadata.nme"}},
       })
    DYNAMIC_SECTION(row.name) {
      Json value = Json::parse(row.value);
      CHECK(prune(value, schema(row.schema)) == row.dropped);
      CHECK(value == Json::parse(row.want));
    }
}

TEST_CASE("defaults fill what is absent or wrongly null") {
  SchemaNode node = schema(
      R"({"type":"object","properties":{"spec":{"type":"object","default":{},"properties":{)"
      R"("a":{"type":"integer","default":3},"n":{"type":"string","nullable":true,"default":"x"},"s":{"type":"string"},)"
      R"("l":{"type":"array","items":{"type":"object","properties":{"p":{"type":"string","default":"TCP"}}}}}}}})");
  struct Row {
    const char *value, *want;
  };
  for (const Row& row : {Row{"{}", R"({"spec":{"a":3,"n":"x"}})"},
                         Row{R"({"spec":{"a":null,"n":null,"s":null}})", R"({"spec":{"a":3,"n":null}})"},
                         Row{R"({"spec":{"a":0,"l":[{},{"p":"UDP"}]}})",
                             R"({"spec":{"a":0,"n":"x","l":[{"p":"TCP"},{"p":"UDP"}]}})"}}) {
    Json value = Json::parse(row.value);
    apply_schema_defaults(value, node);
    CHECK(value == Json::parse(row.want));
  }
}

TEST_CASE("schemas must be structural") {
  struct Row {
    const char *name, *schema, *want;
  };
  for (const Row& row : {
           Row{"fine", R"({"type":"object","properties":{"spec":{"type":"object"}}})", ""},
           Row{"no type", R"({"type":"object","properties":{"a":{}}})",
               "s.properties[a].type: Required value: must not be empty for specified object fields"},
           Row{"root must be an object", R"({"type":"string"})",
               "s.type: Invalid value: \"string\": must be object at the root"},
           Row{"no items", R"({"type":"object","properties":{"a":{"type":"array"}}})",
               "s.properties[a].items: Required value: must be specified"},
           Row{"type under a junctor", R"({"type":"object","properties":{"a":{"type":"string","anyOf":[{"type":"string"}]}}})",
               "s.properties[a].anyOf[0].type: Forbidden: must be empty to be structural"},
           Row{"int-or-string pattern", R"({"type":"object","properties":{"a":{"x-kubernetes-int-or-string":true,)"
                                        R"("anyOf":[{"type":"integer"},{"type":"string"}]}}})", ""},
           Row{"validated but not specified", R"({"type":"object","anyOf":[{"properties":{"a":{"minimum":1}}}]})",
               "s.properties[a]: Required value: because it is defined in s.anyOf[0].properties[a]"},
           Row{"additionalProperties beside properties",
               R"({"type":"object","properties":{"a":{"type":"object","properties":{"b":{"type":"string"}},)"
               R"("additionalProperties":{"type":"string"}}}})",
               "s.properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual "
               "exclusive"},
           Row{"metadata", R"({"type":"object","properties":{"metadata":{"type":"object","properties":{"labels":)"
                           R"({"type":"object"}}}}})",
               "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but "
               "metadata is implicitly specified"},
           Row{"keys of a map list", R"({"type":"object","properties":{"l":{"type":"array","x-kubernetes-list-type":"map",)"
                                     R"("x-kubernetes-list-map-keys":["n"],"items":{"type":"object","properties":{"n":)"
                                     R"({"type":"string"}}}}}})",
               "s.properties[l].items.properties[n].default: Required value: this property is in "
               "x-kubernetes-list-map-keys, so it must have a default or be a required property"},
           Row{"a default of the wrong type", R"({"type":"object","properties":{"a":{"type":"integer","default":"x"}}})",
               "s.properties[a].default: Invalid value: \"string\":  in body must be of type integer: \"string\""},
           Row{"a bad pattern", R"({"type":"object","properties":{"a":{"type":"string","pattern":"("}}})",
               "s.properties[a].pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: missing "
               "): ("},
           Row{"preserve false", R"({"type":"object","x-kubernetes-preserve-unknown-fields":false})",
               "s.x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined"},
       })
    DYNAMIC_SECTION(row.name) {
      api::FieldErrors errors;
      validate_crd_schema(Json::parse(row.schema), "s", false, errors);
      CHECK(text_of(errors) == row.want);
    }
}

TEST_CASE("JSON paths") {
  Json document = Json::parse(
      R"({"a":{"b":[{"t":"x","v":1},{"t":"y","v":2}]},"l":{"k.e/y":"z"},"n":null,"c":[{"type":"Ready","status":"True"}]})");
  struct Row {
    const char *path, *want;
  };
  for (const Row& row : {Row{".a.b[1].v", "2"}, Row{".a.b[-1].t", "\"y\""}, Row{".l['k.e/y']", "\"z\""},
                         Row{".l.k\\.e/y", "\"z\""}, Row{".a.b[*].v", "1"}, Row{".n", "null"}, Row{".x.y", ""},
                         Row{".c[?(@.type==\"Ready\")].status", "\"True\""}, Row{".a.b[?(@.v > 1)].t", "\"y\""},
                         Row{".a.b[7]", ""}}) {
    INFO(row.path);
    const Json* found = JsonPath::parse(row.path).value().first(document);
    CHECK((found ? found->dump() : "") == row.want);
  }
  CHECK_FALSE(JsonPath::parse("spec").ok());
  CHECK_FALSE(JsonPath::parse(".a[").ok());
  CHECK_FALSE(JsonPath::parse(".a[x]").ok());
}
