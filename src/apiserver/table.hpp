#pragma once
// meta.k8s.io Table answers: what `kubectl get` prints.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/gen/meta.hpp"
#include "base/clock.hpp"
#include "client/object.hpp"

namespace skiff::registry {
class CustomVersion;
}

namespace skiff::apiserver {

struct TableOptions {
  enum class Include { Metadata, Object, None } include = Include::Metadata;
  bool headers = true;
  std::string version = "v1";
};

/// `json`: the object's own text, when there is one already.
struct TableItem {
  client::AnyRef object;
  const std::string* json = nullptr;
};

std::string write_table(const api::KindInfo& kind, const std::vector<TableItem>& items,
                        const api::ListMeta& metadata, const TableOptions& options, WallTime now);

/// {"kind":"PartialObjectMetadata",...}
std::string partial_metadata(const api::ObjectMeta& metadata, const std::string& version);

/// The cells of one row, being written in the order of the kind's columns.
class Row {
 public:
  explicit Row(WallTime now) : now_(now) {}

  Row& text(std::string_view value);
  Row& text_or(std::string_view value, std::string_view otherwise) {
    return text(value.empty() ? otherwise : value);
  }
  Row& number(std::int64_t value);
  Row& boolean(bool value);
  Row& null();
  /// A JSON value as it is.
  Row& literal(std::string_view json);
  /// The time since `moment` ("5m12s"), "<unknown>" when it is unset.
  Row& age(const api::Time& moment);
  /// A condition of the row itself (finished pods).
  void condition(std::string_view type, std::string_view reason, std::string_view message);

  size_t cells() const { return count_; }
  const std::string& cells_json() const { return cells_; }
  const std::string& conditions_json() const { return conditions_; }
  WallTime now() const { return now_; }

 private:
  void next();
  WallTime now_;
  std::string cells_;
  std::string conditions_;
  size_t count_ = 0;
};

/// Kubernetes' short form of a duration (duration.HumanDuration): "45s", "5m12s", "3h4m", "6d", "2y30d".
std::string human_duration(std::chrono::seconds span);

/// How the cells of a kind are made; null for kinds that print name and creation time.
using CellRule = void (*)(const void* object, Row& row);
CellRule cell_rule(const api::KindInfo& kind);

/// Two families of rules, each a table of kinds (table_workloads.cpp, table_others.cpp).
CellRule workload_cell_rule(const api::KindInfo& kind);
CellRule other_cell_rule(const api::KindInfo& kind);

/// Custom resources: the columns that their definition names (table_custom.cpp).
std::string custom_columns(const registry::CustomVersion& version);
void custom_cells(const registry::CustomVersion& version, const client::AnyRef& object, Row& row);

}  // namespace skiff::apiserver
