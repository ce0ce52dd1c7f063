#include "cluster/node_records.hpp"

#include <algorithm>
#include <charconv>

#include "api/names.hpp"
#include "base/encoding.hpp"
#include "sys/files.hpp"

namespace skiff::cluster {
namespace {

constexpr std::int64_t kLeastMemory = 16LL << 20;

std::int64_t number(const std::string& text) {
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::vector<std::string> list_of(const std::string& text) {
  std::vector<std::string> parts = split(text, ',');
  std::erase(parts, "");
  return parts;
}

Result<std::map<std::string, std::string>> parse_labels(const std::string& text) {
  std::map<std::string, std::string> labels;
  for (const std::string& one : list_of(text)) {
    size_t equals = one.find('=');
    if (equals == std::string::npos) return error(Code::Invalid, "label '{}': want key=value", one);
    std::string key = one.substr(0, equals), value = one.substr(equals + 1);
    if (api::Problems problems = api::qualified_name_problems(key); !problems.empty())
      return error(Code::Invalid, "label '{}': {}", one, problems[0]);
    if (api::Problems problems = api::label_value_problems(value); !problems.empty())
      return error(Code::Invalid, "label '{}': {}", one, problems[0]);
    labels[key] = value;
  }
  return labels;
}

Result<api::Taint> parse_taint(const std::string& text) {
  size_t colon = text.rfind(':');
  api::Taint taint;
  if (colon != std::string::npos) {
    std::string left = text.substr(0, colon);
    size_t equals = left.find('=');
    taint.key = left.substr(0, equals);
    if (equals != std::string::npos) taint.value = left.substr(equals + 1);
    taint.effect = text.substr(colon + 1);
  }
  bool known = taint.effect == "NoSchedule" || taint.effect == "PreferNoSchedule" || taint.effect == "NoExecute";
  if (!known || taint.key.empty())
    return error(Code::Invalid, "taint '{}': want key=value:Effect with NoSchedule, PreferNoSchedule or NoExecute", text);
  return taint;
}

std::string line_of(const NodeRecord& record) {
  std::string labels, taints;
  for (const auto& [key, value] : record.labels) labels += (labels.empty() ? "" : ",") + key + "=" + value;
  for (const std::string& taint : record.taints) taints += (taints.empty() ? "" : ",") + taint;
  return fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{}\n", record.index, record.name, to_string(record.power),
                     record.milli_cpus, record.memory, labels, taints);
}

Result<NodeRecord> record_from(const std::string& line) {
  std::vector<std::string> fields = split(line, '\t');
  if (fields.size() != 7) return error(Code::Invalid, "'{}' is not a node", line);
  NodeRecord record;
  record.index = static_cast<int>(number(fields[0]));
  record.name = fields[1];
  for (NodePower power : {NodePower::Running, NodePower::Stopped, NodePower::Paused})
    if (fields[2] == to_string(power)) record.power = power;
  record.milli_cpus = number(fields[3]);
  record.memory = number(fields[4]);
  TRY_ASSIGN(record.labels, parse_labels(fields[5]));
  record.taints = list_of(fields[6]);
  return record;
}

}  // namespace

const char* to_string(NodePower power) {
  switch (power) {
    case NodePower::Running: return "running";
    case NodePower::Stopped: return "stopped";
    case NodePower::Paused: return "paused";
  }
  return "";
}

Result<std::vector<api::Taint>> parse_taints(const std::vector<std::string>& texts) {
  std::vector<api::Taint> taints;
  for (const std::string& text : texts) {
    TRY_ASSIGN(api::Taint taint, parse_taint(text));
    taints.push_back(std::move(taint));
  }
  return taints;
}

Result<NodeRecord> make_record(const NodeWish& wish) {
  NodeRecord record;
  if (!wish.cpus.empty()) {
    Result<api::Quantity> cpus = api::Quantity::parse(wish.cpus);
    if (!cpus.ok() || cpus.value().milli() < 10) return error(Code::Invalid, "CPUs '{}': want 10m or more, such as 2 or 500m", wish.cpus);
    record.milli_cpus = cpus.value().milli();
  }
  if (!wish.memory.empty()) {
    Result<api::Quantity> memory = api::Quantity::parse(wish.memory);
    if (!memory.ok() || memory.value().value() < kLeastMemory)
      return error(Code::Invalid, "memory '{}': want 16Mi or more, such as 512Mi or 2Gi", wish.memory);
    record.memory = memory.value().value();
  }
  TRY_ASSIGN(record.labels, parse_labels(wish.labels));
  record.taints = list_of(wish.taints);
  TRY(parse_taints(record.taints));
  if (!wish.zone.empty()) record.labels["topology.kubernetes.io/zone"] = wish.zone;
  return record;
}

Result<std::vector<NodeRecord>> choose_records(const Settings& settings) {
  const ClusterConfig& config = settings.config;
  std::vector<NodeRecord> records;
  for (int index = 0; index < config.nodes; ++index) {
    std::string zone = config.zones > 0 ? fmt::format("zone-{}", index % config.zones + 1) : "";
    TRY_ASSIGN(NodeRecord record, make_record({.cpus = config.node_cpus,
                                               .memory = config.node_memory,
                                               .labels = config.node_labels,
                                               .taints = "",
                                               .zone = zone}));
    record.index = index;
    record.name = settings.node_name(index);
    records.push_back(std::move(record));
  }
  return records;
}

Result<std::vector<NodeRecord>> load_records(const Settings& settings) {
  const std::string path = Paths(settings.config).node_records();
  if (!sys::exists(path)) return choose_records(settings);
  TRY_ASSIGN(std::string text, sys::read_file(path));
  std::vector<NodeRecord> records;
  for (const std::string& line : split(text, '\n')) {
    if (line.empty()) continue;
    Result<NodeRecord> record = record_from(line);
    if (!record.ok()) return std::move(record).error().in(path);
    records.push_back(std::move(record).value());
  }
  return records;
}

Status save_records(const Settings& settings, const std::vector<NodeRecord>& records) {
  std::string text;
  for (const NodeRecord& record : records) text += line_of(record);
  return sys::replace_file(Paths(settings.config).node_records(), text);
}

}  // namespace skiff::cluster
