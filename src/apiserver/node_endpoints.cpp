#include "apiserver/node_endpoints.hpp"

#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "api/gen/nodes.hpp"
#include "api/gen/pod.hpp"
#include "api/json.hpp"
#include "api/status.hpp"
#include "apiserver/status.hpp"
#include "base/encoding.hpp"
#include "sys/files.hpp"

namespace skiff::apiserver {

using client::NodeAccess;
using nlohmann::json;

namespace {

constexpr const char* kLogs = "/var/log";
constexpr size_t kMaxLog = 16U << 20;
constexpr const char* kText = "text/plain; charset=utf-8";
constexpr const char* kMetrics = "text/plain; version=0.0.4; charset=utf-8";

struct Question {
  std::shared_ptr<NodeAccess> node;
  client::Client* cluster;
  std::string name;  // of the node
  std::string path;
  bool only_compute = false;
};

Reply text_reply(std::string body, std::string type = kText) {
  Reply reply;
  reply.content_type = std::move(type);
  reply.body = std::make_shared<std::string>(std::move(body));
  return reply;
}

Reply json_reply(std::string body) { return text_reply(std::move(body), "application/json"); }

Result<std::vector<client::Ref<api::Pod>>> pods_of(const Question& question) {
  client::ListOptions options;
  options.field_selector = "spec.nodeName=" + question.name;
  return question.cluster->list<api::Pod>(options);
}

Result<Reply> pods(const Question& question, bool running_only) {
  TRY_ASSIGN(std::vector<client::Ref<api::Pod>> all, pods_of(question));
  std::string items;
  for (const client::Ref<api::Pod>& pod : all) {
    if (running_only && pod->status.phase != "Running") continue;
    items += (items.empty() ? "" : ",") + api::to_json(*pod);
  }
  return json_reply(R"({"kind":"PodList","apiVersion":"v1","metadata":{},"items":[)" + items + "]}");
}

/// What runs here, in the kubelet's names.
Result<Reply> own_metrics(const Question& question) {
  TRY_ASSIGN(client::NodeUsage usage, question.node->usage({}));
  size_t containers = 0;
  for (const client::PodUsage& pod : usage.pods) containers += pod.containers.size();
  return text_reply(
      fmt::format("# HELP kubelet_node_name [ALPHA] The node's name. The count is always 1.\n"
                  "# TYPE kubelet_node_name gauge\nkubelet_node_name{{node=\"{}\"}} 1\n"
                  "# HELP kubelet_running_containers [ALPHA] Number of containers currently running\n"
                  "# TYPE kubelet_running_containers gauge\nkubelet_running_containers{{container_state=\"running\"}} {}\n"
                  "# HELP kubelet_running_pods [ALPHA] Number of pods that have a running pod sandbox\n"
                  "# TYPE kubelet_running_pods gauge\nkubelet_running_pods {}\n",
                  usage.name, containers, usage.pods.size()),
      kMetrics);
}

/// The settings that a KubeletConfiguration would hold, as they are here.
Result<Reply> configuration(const Question& question) {
  TRY_ASSIGN(client::Ref<api::Node> node, question.cluster->get<api::Node>({"", question.name}));
  auto pods = node->status.capacity.find("pods");
  json config = {{"kind", "KubeletConfiguration"},
                 {"apiVersion", "kubelet.config.k8s.io/v1beta1"},
                 {"maxPods", pods == node->status.capacity.end() ? 110 : pods->second.value()},
                 {"port", node->status.daemonEndpoints.kubeletEndpoint.Port},
                 {"containerLogMaxSize", "10Mi"},
                 {"containerLogMaxFiles", 5},
                 {"cgroupDriver", "cgroupfs"},
                 {"cgroupsPerQOS", true},
                 {"seccompDefault", true},
                 {"nodeLeaseDurationSeconds", 40},
                 {"podCIDR", node->spec.podCIDR}};
  return json_reply(json{{"kubeletconfig", std::move(config)}}.dump());
}

/// A file below /var/log, or what a directory there holds as links, as Go's file server has it.
Result<Reply> host_logs(const std::string& below) {
  for (const std::string& part : split(below, '/'))
    if (part == "..") return api::bad_request("invalid path");
  std::string path = kLogs + below;
  Result<struct stat> info = sys::stat_of(path);
  if (!info.ok()) return Error(Code::NotFound, "404 page not found");
  if (!S_ISDIR(info.value().st_mode)) {
    TRY_ASSIGN(std::string text, sys::read_file(path, kMaxLog));
    return text_reply(std::move(text));
  }
  TRY_ASSIGN(std::vector<std::string> names, sys::list_directory(path));
  std::ranges::sort(names);
  std::string page = "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n";
  for (std::string& name : names) {
    Result<struct stat> entry = sys::stat_of(path + "/" + name);
    if (entry.ok() && S_ISDIR(entry.value().st_mode)) name += "/";
    page += fmt::format("<a href=\"{0}\">{0}</a>\n", name);
  }
  return text_reply(page + "</pre>\n", "text/html; charset=utf-8");
}

/// /containerLogs/NAMESPACE/POD/CONTAINER
Result<Reply> container_logs(const Question& question, const std::string& below, std::stop_token stop) {
  std::vector<std::string> parts = split(below, '/');
  if (parts.size() != 3) return Error(Code::NotFound, "404 page not found");
  std::string text;
  client::LogOptions options;
  options.container = parts[2];
  auto take = [&](std::string_view part) {
    text.append(part);
    return text.size() < kMaxLog;
  };
  TRY(question.node->logs({parts[0], parts[1]}, options, take, std::move(stop)));
  return text_reply(std::move(text));
}

Result<Reply> figures(const Question& question) {
  const std::string& path = question.path;
  bool full = path != "/metrics/resource" && !question.only_compute;
  TRY_ASSIGN(client::NodeUsage usage, question.node->usage({.full = full}));
  if (path == "/metrics/resource") return text_reply(resource_metrics(usage), kMetrics);
  if (path == "/metrics/cadvisor") return text_reply(container_metrics(usage), kMetrics);
  return json_reply(usage_summary(usage));
}

Result<Reply> answer_for(const Question& question, std::stop_token stop) {
  std::string path = question.path;
  if (path.size() > 1 && path.ends_with('/') && path != "/logs/") path.pop_back();
  if (path == "/healthz" || path == "/healthz/ping" || path == "/healthz/syncloop" || path == "/healthz/log")
    return text_reply("ok");
  if (path == "/pods") return pods(question, false);
  if (path == "/runningpods") return pods(question, true);
  if (path == "/configz") return configuration(question);
  if (path == "/metrics") return own_metrics(question);
  if (path == "/metrics/probes") return text_reply("", kMetrics);
  if (path == "/stats/summary" || path == "/metrics/resource" || path == "/metrics/cadvisor") return figures(question);
  if (path == "/logs" || path.starts_with("/logs/")) return host_logs(path.substr(5));
  if (path.starts_with("/containerLogs/")) return container_logs(question, path.substr(15), std::move(stop));
  return Error(Code::NotFound, "404 page not found");
}

}  // namespace

Response node_endpoint(const Call& call, std::shared_ptr<NodeAccess> node, const std::string& name,
                       const std::string& path) {
  Question question{std::move(node), &call.registry.local_client(), name, path,
                    is_true(call.request, "only_cpu_and_memory")};
  StreamReply reply;
  reply.own_thread = true;  // measuring takes a moment
  reply.late_head = true;   // and never written: the answer comes whole
  reply.start = [question = std::move(question)](std::shared_ptr<StreamSink> sink, std::stop_token stop) {
    Result<Reply> answer = answer_for(question, std::move(stop));
    bool missing = !answer.ok() && answer.error().message() == "404 page not found";
    if (missing) {
      Reply page = text_reply("404 page not found\n");
      page.status = 404;
      return sink->answer(page);
    }
    sink->answer(answer.ok() ? answer.value() : status_reply(answer.error()));
  };
  return reply;
}

}  // namespace skiff::apiserver
