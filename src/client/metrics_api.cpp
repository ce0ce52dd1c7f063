#include "client/metrics_api.hpp"

#include <cctype>
#include <nlohmann/json.hpp>

namespace skiff::client {
namespace {

using nlohmann::json;

constexpr char kCustom[] = "custom metrics API", kExternal[] = "external metrics API";

std::string escape(std::string_view text) {
  std::string escaped;
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) || std::string_view("-_.~").find(c) != std::string_view::npos) escaped += c;
    else escaped += fmt::format("%{:02X}", byte);
  }
  return escaped;
}

std::string query(std::initializer_list<std::pair<const char*, const std::string&>> parameters) {
  std::string text;
  for (const auto& [name, value] : parameters)
    if (!value.empty()) text += fmt::format("{}{}={}", text.empty() ? '?' : '&', name, escape(value));
  return text;
}

std::string message_of(const HttpAnswer& answer) {
  json status = json::parse(answer.body, nullptr, false);
  if (status.is_object() && status.contains("message") && status["message"].is_string()) return status["message"];
  return answer.status == 404 ? "the server could not find the requested resource" : fmt::format("HTTP {}", answer.status);
}

MetricValue value_of(const json& item) {
  MetricValue value;
  if (item.contains("describedObject")) value.object = item["describedObject"].value("name", "");
  if (auto quantity = api::Quantity::parse(item.value("value", "")); quantity.ok()) value.milli = quantity.value().milli();
  if (auto time = api::Time::parse(item.value("timestamp", "")); time.ok()) value.timestamp = time.value();
  for (const char* name : {"windowSeconds", "window"})
    if (item.contains(name) && item[name].is_number_integer())
      value.window = std::chrono::seconds(item[name].get<std::int64_t>());
  return value;
}

Result<std::vector<MetricValue>> values_of(const HttpAnswer& answer, const char* from) {
  if (answer.status != 200) return error(Code::Unavailable, "unable to fetch metrics from {}: {}", from, message_of(answer));
  std::vector<MetricValue> values;
  try {
    const json list = json::parse(answer.body);
    for (const json& item : list.at("items")) values.push_back(value_of(item));
  } catch (const json::exception& problem) {
    return error(Code::Invalid, "unable to fetch metrics from {}: {}", from, problem.what());
  }
  if (values.empty()) return error(Code::NotFound, "no metrics returned from {}", from);
  return values;
}

}  // namespace

// In the newest version that the group's server has.
Result<std::vector<MetricValue>> MetricsApi::custom(const std::string& path) const {
  TRY_ASSIGN(HttpAnswer group, get_("/apis/custom.metrics.k8s.io"));
  if (group.status != 200)
    return error(Code::Unavailable, "unable to fetch metrics from {}: no custom metrics API (custom.metrics.k8s.io) registered", kCustom);
  const bool newer = group.body.find("custom.metrics.k8s.io/v1beta2") != std::string::npos;
  TRY_ASSIGN(HttpAnswer answer, get_(fmt::format("/apis/custom.metrics.k8s.io/{}{}", newer ? "v1beta2" : "v1beta1", path)));
  return values_of(answer, kCustom);
}

Result<std::vector<MetricValue>> MetricsApi::of_pods(const MetricQuery& metric, const std::string& pods) const {
  return custom(fmt::format("/namespaces/{}/pods/%2A/{}{}", escape(metric.namespace_), escape(metric.name),
                            query({{"labelSelector", pods}, {"metricLabelSelector", metric.selector}})));
}

Result<MetricValue> MetricsApi::of_object(const MetricQuery& metric, const std::string& resource,
                                          const std::string& name) const {
  const std::string of = resource == "namespaces" ? "metrics" : escape(resource) + "/" + escape(name);
  TRY_ASSIGN(std::vector<MetricValue> values,
             custom(fmt::format("/namespaces/{}/{}/{}{}", escape(resource == "namespaces" ? name : metric.namespace_), of,
                                escape(metric.name), query({{"metricLabelSelector", metric.selector}}))));
  if (values.size() != 1)
    return error(Code::Invalid, "unable to fetch metrics from {}: the server returned {} metrics, expected one", kCustom,
                 values.size());
  return values.front();
}

Result<std::vector<MetricValue>> MetricsApi::external(const MetricQuery& metric) const {
  TRY_ASSIGN(HttpAnswer answer,
             get_(fmt::format("/apis/external.metrics.k8s.io/v1beta1/namespaces/{}/{}{}", escape(metric.namespace_),
                              escape(metric.name), query({{"labelSelector", metric.selector}}))));
  if (answer.status == 404)
    return error(Code::Unavailable, "unable to fetch metrics from {}: {} (get {}.external.metrics.k8s.io)", kExternal,
                 "the server could not find the requested resource", metric.name);
  return values_of(answer, kExternal);
}

}  // namespace skiff::client
