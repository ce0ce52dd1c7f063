#include "registry/kinds/differences.hpp"

#include <nlohmann/json.hpp>

namespace skiff::registry {

std::string difference(const api::TypeInfo& type, const void* old, const void* next) {
  Result<nlohmann::json> before = api::parse_json(api::encode_json(type, old));
  Result<nlohmann::json> after = api::parse_json(api::encode_json(type, next));
  if (!before.ok() || !after.ok()) return "";
  std::string lines;
  size_t identical = 0;
  auto line = [&](char sign, const std::string& field, const nlohmann::json& object) {
    if (object.contains(field)) lines += std::string(1, sign) + " \t" + field + ": " + object[field].dump() + ",\n";
  };
  for (const auto& [field, value] : before.value().items()) {
    if (after.value().contains(field) && after.value()[field] == value) {
      ++identical;
      continue;
    }
    line('-', field, before.value());
    line('+', field, after.value());
  }
  for (const auto& [field, value] : after.value().items())
    if (!before.value().contains(field)) line('+', field, after.value());
  if (identical > 0) lines += "  \t... // " + std::to_string(identical) + " identical fields\n";
  return "  {\n" + lines + "  }\n";
}

}  // namespace skiff::registry
