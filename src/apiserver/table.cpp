#include "apiserver/table.hpp"

#include "api/json.hpp"
#include "registry/custom_version.hpp"

namespace skiff::apiserver {

namespace {

constexpr std::chrono::seconds kDay{24 * 3600};
constexpr std::chrono::seconds kYear{365 * 24 * 3600};

const api::ColumnInfo kDefaultColumns[] = {
    {.name = "Name", .type = "string", .format = "name", .wide = false},
    {.name = "Created At", .type = "date", .format = "", .wide = false}};

std::span<const api::ColumnInfo> columns_of(const api::KindInfo& kind) {
  return cell_rule(kind) == nullptr ? std::span<const api::ColumnInfo>(kDefaultColumns) : kind.columns;
}

// Kubernetes documents every Name column alike; the others carry what their printer says, ours nothing.
std::string_view description_of(const api::ColumnInfo& column) {
  if (std::string_view(column.name) == "Name") return "Name must be unique within a namespace.";
  if (std::string_view(column.name) == "Age" || std::string_view(column.name) == "Created At")
    return "CreationTimestamp is the server's time at which this object was created, in UTC.";
  return "";
}

void append_columns(std::string& out, const api::KindInfo& kind) {
  out.append(R"("columnDefinitions":[)");
  if (const registry::CustomVersion* version = registry::CustomVersion::of(kind)) {
    out.append(custom_columns(*version)).append("],");
    return;
  }
  for (const api::ColumnInfo& column : columns_of(kind)) {
    if (out.back() != '[') out.push_back(',');
    out.append(R"({"name":)");
    api::append_json_string(out, column.name);
    out.append(fmt::format(R"(,"type":"{}","format":"{}","description":)", column.type, column.format));
    api::append_json_string(out, description_of(column));
    out.append(fmt::format(R"(,"priority":{}}})", column.wide ? 1 : 0));
  }
  out.append("],");
}

void append_row(std::string& out, const api::KindInfo& kind, const TableItem& item,
                const TableOptions& options, WallTime now) {
  Row row(now);
  if (const registry::CustomVersion* version = registry::CustomVersion::of(kind)) {
    custom_cells(*version, item.object, row);
  } else if (CellRule rule = cell_rule(kind)) {
    rule(item.object.get(), row);
  } else {
    const api::ObjectMeta& metadata = item.object.metadata();
    row.text(metadata.name).text(metadata.creationTimestamp.text());
  }
  out.append(R"({"cells":[)").append(row.cells_json()).append("]");
  if (!row.conditions_json().empty())
    out.append(R"(,"conditions":[)").append(row.conditions_json()).append("]");
  if (options.include == TableOptions::Include::Metadata)
    out.append(R"(,"object":)").append(partial_metadata(item.object.metadata(), options.version));
  if (options.include == TableOptions::Include::Object)
    out.append(R"(,"object":)")
        .append(item.json ? *item.json : api::encode_json(*kind.type, item.object.get()));
  out.push_back('}');
}

}  // namespace

CellRule cell_rule(const api::KindInfo& kind) {
  if (CellRule rule = workload_cell_rule(kind)) return rule;
  return other_cell_rule(kind);
}

std::string write_table(const api::KindInfo& kind, const std::vector<TableItem>& items,
                        const api::ListMeta& metadata, const TableOptions& options, WallTime now) {
  std::string out = fmt::format(R"({{"kind":"Table","apiVersion":"meta.k8s.io/{}","metadata":{},)",
                                options.version, api::to_json(metadata));
  if (options.headers) {
    append_columns(out, kind);
  } else {
    out.append(R"("columnDefinitions":null,)");
  }
  out.append(R"("rows":[)");
  for (const TableItem& item : items) {
    if (out.back() != '[') out.push_back(',');
    append_row(out, kind, item, options, now);
  }
  return out.append("]}");
}

std::string partial_metadata(const api::ObjectMeta& metadata, const std::string& version) {
  return fmt::format(R"({{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/{}","metadata":{}}})",
                     version, api::to_json(metadata));
}

void Row::next() {
  if (count_++ > 0) cells_.push_back(',');
}

Row& Row::text(std::string_view value) {
  next();
  api::append_json_string(cells_, value);
  return *this;
}

Row& Row::number(std::int64_t value) {
  next();
  cells_.append(std::to_string(value));
  return *this;
}

Row& Row::boolean(bool value) {
  next();
  cells_.append(value ? "true" : "false");
  return *this;
}

Row& Row::null() {
  next();
  cells_.append("null");
  return *this;
}

Row& Row::literal(std::string_view json) {
  next();
  cells_.append(json);
  return *this;
}

Row& Row::age(const api::Time& moment) {
  if (!moment) return text("<unknown>");
  return text(human_duration(std::chrono::duration_cast<std::chrono::seconds>(now_ - moment.wall())));
}

void Row::condition(std::string_view type, std::string_view reason, std::string_view message) {
  conditions_ =
      fmt::format(R"({{"type":"{}","status":"True","reason":"{}","message":"{}"}})", type, reason, message);
}

std::string human_duration(std::chrono::seconds span) {
  using std::chrono::hours;
  using std::chrono::minutes;
  long long seconds = span.count();
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  auto two = [](long long first, char a, long long second, char b) {
    return second == 0 ? fmt::format("{}{}", first, a) : fmt::format("{}{}{}{}", first, a, second, b);
  };
  if (span < minutes(2)) return fmt::format("{}s", seconds);
  if (span < minutes(10)) return two(seconds / 60, 'm', seconds % 60, 's');
  if (span < hours(3)) return fmt::format("{}m", seconds / 60);
  if (span < hours(8)) return two(seconds / 3600, 'h', seconds / 60 % 60, 'm');
  if (span < hours(48)) return fmt::format("{}h", seconds / 3600);
  if (span < kDay * 8) return two(seconds / 86400, 'd', seconds / 3600 % 24, 'h');
  if (span < kYear * 2) return fmt::format("{}d", seconds / 86400);
  if (span < kYear * 8) return two(seconds / kYear.count(), 'y', seconds / 86400 % 365, 'd');
  return fmt::format("{}y", seconds / kYear.count());
}

}  // namespace skiff::apiserver
