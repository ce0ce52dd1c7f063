// Table answers of custom resources (apiextensions-apiserver/pkg/registry/customresource/tableconvertor).

#include <nlohmann/json.hpp>

#include "api/custom_object.hpp"
#include "api/json.hpp"
#include "apiserver/table.hpp"
#include "registry/custom_version.hpp"

namespace skiff::apiserver {
namespace {

using Json = nlohmann::json;
using registry::CustomColumn;

std::string column(const CustomColumn& of) {
  std::string out = R"({"name":)";
  api::append_json_string(out, of.name);
  out.append(fmt::format(R"(,"type":"{}","format":"{}","description":)", of.type, of.format));
  api::append_json_string(out, of.description);
  return out.append(fmt::format(R"(,"priority":{}}})", of.priority));
}

void date_cell(const Json& value, Row& row) {
  if (!value.is_string()) return void(row.null());
  Result<api::Time> moment = api::Time::parse(value.get<std::string>());
  if (moment.ok()) row.age(moment.value());
  else row.text("<invalid>");
}

void cell(const CustomColumn& of, const Json* value, Row& row) {
  if (!value) return void(row.null());
  if (of.type == "date") return date_cell(*value, row);
  if (of.type == "string") return void(row.text(value->is_string() ? value->get<std::string>() : value->dump()));
  bool fits = (of.type == "boolean" && value->is_boolean()) ||
              ((of.type == "integer" || of.type == "number") && value->is_number());
  if (!fits) return void(row.null());
  if (of.type == "integer") row.number(value->get<std::int64_t>());
  else row.literal(value->dump());
}

}  // namespace

std::string custom_columns(const registry::CustomVersion& version) {
  std::string out =
      R"({"name":"Name","type":"string","format":"name","description":"Name must be unique within a namespace.",)"
      R"("priority":0})";
  for (const CustomColumn& one : version.columns()) out.append(",").append(column(one));
  return out;
}

void custom_cells(const registry::CustomVersion& version, const client::AnyRef& object, Row& row) {
  row.text(object.metadata().name);
  Json document = registry::document_of(version, *static_cast<const api::CustomObject*>(object.get()));
  for (const CustomColumn& one : version.columns()) cell(one, one.path.first(document), row);
}

}  // namespace skiff::apiserver
