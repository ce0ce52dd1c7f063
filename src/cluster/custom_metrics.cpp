#include "cluster/custom_metrics.hpp"

namespace skiff::cluster {
namespace {

constexpr Duration kPatience = 10s;

Result<client::MetricQuery> query_of(const std::string& namespace_, const api::MetricIdentifier& metric) {
  client::MetricQuery query{namespace_, metric.name, ""};
  if (!metric.selector) return query;
  TRY_ASSIGN(api::Selector selector, api::Selector::from(*metric.selector));
  query.selector = selector.text();
  return query;
}

}  // namespace

AggregatedMetrics::AggregatedMetrics(client::Client& client, Identity identity)
    : client_(client), api_([identity = std::move(identity)](const std::string& path) -> Result<client::HttpAnswer> {
        TRY_ASSIGN(client::KubeconfigEntry entry, identity());
        TRY_ASSIGN(auto http, client::HttpClient::create(entry, kPatience));
        return http->get(path);
      }) {}

Result<controllers::PodUsages> AggregatedMetrics::of_pods(const std::string& namespace_, const api::Selector& pods,
                                                          const api::MetricIdentifier& metric) {
  TRY_ASSIGN(client::MetricQuery query, query_of(namespace_, metric));
  TRY_ASSIGN(std::vector<client::MetricValue> values, api_.of_pods(query, pods.text()));
  controllers::PodUsages usages;
  for (const client::MetricValue& value : values) usages[value.object] = {value.milli, value.timestamp, value.window};
  return usages;
}

Result<std::int64_t> AggregatedMetrics::of_object(const std::string& namespace_,
                                                  const api::CrossVersionObjectReference& object,
                                                  const api::MetricIdentifier& metric) {
  const api::KindInfo* kind = client_.find_kind(object.apiVersion.empty() ? "v1" : object.apiVersion, object.kind);
  if (!kind) return error(Code::NotFound, "no matches for kind \"{}\" in version \"{}\"", object.kind, object.apiVersion);
  TRY_ASSIGN(client::MetricQuery query, query_of(namespace_, metric));
  const std::string resource = *kind->group ? fmt::format("{}.{}", kind->plural, kind->group) : kind->plural;
  TRY_ASSIGN(client::MetricValue value, api_.of_object(query, resource, object.name));
  return value.milli;
}

Result<std::int64_t> AggregatedMetrics::external(const std::string& namespace_, const api::MetricIdentifier& metric) {
  TRY_ASSIGN(client::MetricQuery query, query_of(namespace_, metric));
  TRY_ASSIGN(std::vector<client::MetricValue> values, api_.external(query));
  std::int64_t sum = 0;
  for (const client::MetricValue& value : values) sum += value.milli;
  return sum;
}

}  // namespace skiff::cluster
