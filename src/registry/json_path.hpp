#pragma once
// JSONPath as Kubernetes uses it in printer columns, scale paths and selectable fields
// (k8s.io/client-go/util/jsonpath, without templates).

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace skiff::registry {

/// A parsed path such as .spec.replicas, .status.conditions[?(@.type=="Ready")].status, .metadata.labels['a.b'],
/// .spec.ports[0].name or .spec.ports[*].name. Any thread.
class JsonPath {
 public:
  /// Invalid: it is no path, or uses what only templates have.
  static Result<JsonPath> parse(std::string_view text);

  /// All values it leads to, in document order; they live as long as `document`.
  std::vector<const nlohmann::json*> find(const nlohmann::json& document) const;
  /// The first of them, or null.
  const nlohmann::json* first(const nlohmann::json& document) const;

 private:
  struct Step {
    enum class Kind { Member, Index, All, Filter } kind = Kind::Member;
    std::string name;               // of the member
    long index = 0;                 // from the end when negative
    std::vector<std::string> path;  // below each item: what the filter compares
    std::string op, literal;        // "" as operator: the member exists
  };
  static Result<Step> parse_bracket(std::string_view inside);
  static Result<Step> parse_filter(std::string_view inside);
  static void apply(const Step& step, const nlohmann::json& value, std::vector<const nlohmann::json*>& out);
  static bool holds(const Step& filter, const nlohmann::json& item);

  std::vector<Step> steps_;
};

}  // namespace skiff::registry
