#include "apiserver/metrics.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/encoding.hpp"
#include "sys/files.hpp"

namespace skiff::apiserver {

namespace {

constexpr std::array<double, 23> kBounds{0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2,
                                         3,     4,     5,    6,   8,   10,  15,  20,  30, 45,   60};

// kube-apiserver reports the HTTP-like names of verbs.
std::string_view reported_verb(const RequestInfo& info) {
  static constexpr std::array<std::array<std::string_view, 2>, 8> kNames{{{"get", "GET"},
                                                                         {"list", "LIST"},
                                                                         {"watch", "WATCH"},
                                                                         {"create", "POST"},
                                                                         {"update", "PUT"},
                                                                         {"patch", "PATCH"},
                                                                         {"delete", "DELETE"},
                                                                         {"deletecollection", "DELETECOLLECTION"}}};
  if (info.is_resource && is_long_running(info) && info.verb != "watch") return "CONNECT";
  for (const auto& [verb, name] : kNames)
    if (info.verb == verb) return name;
  return "other";
}

std::string_view scope_of(const RequestInfo& info) {
  if (!info.name.empty()) return "resource";
  return info.namespace_.empty() ? "cluster" : "namespace";
}

std::string labels_of(const RequestInfo& info, bool dry_run) {
  return fmt::format(
      R"(component="apiserver",dry_run="{}",group="{}",resource="{}",scope="{}",subresource="{}",verb="{}",version="{}")",
      dry_run ? "All" : "", info.group, info.resource, info.is_resource ? scope_of(info) : "",
      info.subresource, reported_verb(info), info.version);
}

void head(std::string& out, std::string_view name, std::string_view type, std::string_view help) {
  out.append(fmt::format("# HELP {0} {2}\n# TYPE {0} {1}\n", name, type, help));
}

void write_objects(std::string& out, const registry::Registry& registry) {
  head(out, "apiserver_resource_objects", "gauge", "Number of stored objects by resource.");
  std::string older;
  for (const registry::ServedKind* served : registry.catalogue()->served()) {
    if (served->conversion != nullptr || !served->resource->strategy.stored) continue;
    const api::KindInfo& kind = *served->kind;
    size_t count = registry.count(*served->resource);
    out.append(fmt::format("apiserver_resource_objects{{group=\"{}\",resource=\"{}\"}} {}\n", kind.group, kind.plural,
                           count));
    std::string name = *kind.group ? fmt::format("{}.{}", kind.plural, kind.group) : std::string(kind.plural);
    older.append(fmt::format("apiserver_storage_objects{{resource=\"{}\"}} {}\n", name, count));
  }
  head(out, "apiserver_storage_objects", "gauge", "Number of stored objects by resource.");
  out.append(older);
}

// /proc/self/stat, from behind the command's name: utime and stime are fields 14 and 15, starttime 22, vsize 23, rss 24.
void write_process(std::string& out) {
  Result<std::string> stat = sys::read_file("/proc/self/stat");
  if (!stat.ok()) return;
  std::vector<std::string> fields = split(stat.value().substr(stat.value().rfind(')') + 2), ' ');
  if (fields.size() < 22) return;
  auto number = [&](size_t field) { return std::strtod(fields[field - 3].c_str(), nullptr); };
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  auto gauge = [&out](const char* name, const char* type, double value) {
    head(out, name, type, "Of the skiff process, which is the whole cluster.");
    out.append(fmt::format("{} {}\n", name, value));
  };
  gauge("process_cpu_seconds_total", "counter", (number(14) + number(15)) / ticks);
  gauge("process_virtual_memory_bytes", "gauge", number(23));
  gauge("process_resident_memory_bytes", "gauge", number(24) * static_cast<double>(sysconf(_SC_PAGESIZE)));
}

}  // namespace

bool is_long_running(const RequestInfo& info) {
  static constexpr std::array<std::string_view, 5> kStreams{"exec", "attach", "portforward", "proxy", "log"};
  return info.verb == "watch" || std::ranges::find(kStreams, info.subresource) != kStreams.end();
}

Metrics::InFlight Metrics::begin(const RequestInfo& info) {
  if (is_long_running(info)) return {nullptr, true};
  bool reads = info.verb == "get" || info.verb == "list" || !info.is_resource;
  std::atomic<int>& count = reads ? read_only_ : mutating_;
  int limit = reads ? limits_.read_only : limits_.mutating;
  return {&count, ++count <= limit};
}

void Metrics::record(const RequestInfo& info, int code, bool dry_run, Duration took) {
  const std::string labels = labels_of(info, dry_run);
  const double seconds = std::chrono::duration<double>(took).count();
  MutexLock lock(mutex_);
  ++requests_[fmt::format("code=\"{}\",{}", code, labels)];
  if (is_long_running(info)) return;
  Latency& latency = latencies_[labels];
  size_t bucket = static_cast<size_t>(std::ranges::lower_bound(kBounds, seconds) - kBounds.begin());
  if (bucket < kBuckets) ++latency.buckets[bucket];
  ++latency.count;
  latency.sum += seconds;
}

void Metrics::write_requests(std::string& out) const {
  head(out, "apiserver_request_total", "counter", "Requests by verb, resource and HTTP response code.");
  for (const auto& [labels, count] : requests_)
    out.append(fmt::format("apiserver_request_total{{{}}} {}\n", labels, count));
}

void Metrics::write_latencies(std::string& out) const {
  head(out, "apiserver_request_duration_seconds", "histogram", "Response latency in seconds.");
  for (const auto& [labels, latency] : latencies_) {
    std::uint64_t below = 0;
    for (size_t i = 0; i < kBuckets; ++i) {
      below += latency.buckets[i];
      out.append(fmt::format("apiserver_request_duration_seconds_bucket{{{},le=\"{}\"}} {}\n", labels, kBounds[i], below));
    }
    out.append(fmt::format("apiserver_request_duration_seconds_bucket{{{},le=\"+Inf\"}} {}\n", labels, latency.count));
    out.append(fmt::format("apiserver_request_duration_seconds_sum{{{}}} {}\n", labels, latency.sum));
    out.append(fmt::format("apiserver_request_duration_seconds_count{{{}}} {}\n", labels, latency.count));
  }
}

std::string Metrics::text(const registry::Registry& registry, const std::string& git_version) const {
  std::string out;
  head(out, "apiserver_current_inflight_requests", "gauge", "Requests under way, by kind.");
  out.append(fmt::format("apiserver_current_inflight_requests{{request_kind=\"mutating\"}} {}\n", mutating_.load()));
  out.append(fmt::format("apiserver_current_inflight_requests{{request_kind=\"readOnly\"}} {}\n", read_only_.load()));
  {
    MutexLock lock(mutex_);
    write_latencies(out);
    write_requests(out);
  }
  write_objects(out, registry);
  head(out, "kubernetes_build_info", "gauge", "1, labelled with the version.");
  out.append(fmt::format("kubernetes_build_info{{git_version=\"{}\",major=\"1\",minor=\"36\"}} 1\n", git_version));
  write_process(out);
  return out;
}

}  // namespace skiff::apiserver
