// start, serve, stop, status, delete, version.

#include <fmt/core.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/log.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "client/http_client.hpp"
#include "cluster/daemon.hpp"
#include "cluster/kubeconfig.hpp"
#include "cluster/node_records.hpp"
#include "cluster/state.hpp"
#include "skiff/cluster.hpp"
#include "skiff/version.hpp"

namespace skiff::cli {
namespace {

constexpr Duration kStopPatience = 60s;

std::vector<std::string> serve_arguments(const Options& options) {
  const ClusterConfig& config = options.cluster;
  std::vector<std::string> words = {"serve", "--profile=" + config.name, fmt::format("--nodes={}", config.nodes),
                                    "--expose=" + config.expose, fmt::format("--v={}", options.verbosity)};
  if (!config.audit_log.empty()) {
    words.push_back("--audit-log=" + std::filesystem::absolute(config.audit_log).string());
    words.push_back("--audit-level=" + config.audit_level);
  }
  for (const auto& [flag, value] : {std::pair{"--node-cpus=", &config.node_cpus},
                                    {"--node-memory=", &config.node_memory},
                                    {"--node-labels=", &config.node_labels},
                                    {"--scheduler-profiles=", &config.scheduler_profiles}})
    if (!value->empty()) words.push_back(flag + *value);
  words.push_back(fmt::format("--zones={}", config.zones));
  words.push_back(fmt::format("--fake-nodes={}", config.fake_nodes));
  words.push_back(fmt::format("--node-grace={}", config.node_grace));
  words.push_back(fmt::format("--eviction-after={}", config.eviction_after));
  if (config.api_port != 0) words.push_back(fmt::format("--api-port={}", config.api_port));
  words.push_back("--cluster-domain=" + config.cluster_domain);
  words.push_back("--ip-family=" + config.ip_family);
  if (!config.pod_cidr.empty()) words.push_back("--pod-cidr=" + config.pod_cidr);
  if (!config.service_cidr.empty()) words.push_back("--service-cidr=" + config.service_cidr);
  return words;
}

std::string profile_flag(const ClusterConfig& config) { return config.name == "skiff" ? "" : " -p " + config.name; }

// A cluster whose place in the user's file cannot be written is there all the same.
void use_context(const ClusterConfig& config) {
  Result<std::string> merged = cluster::merge_user_kubeconfig(config);
  if (!merged.ok()) fmt::print(stderr, "skiff: warning: {}\n", merged.error().message());
  else fmt::print(stderr, "kubectl now uses context '{}' of {}.\n", cluster::context_name(config), merged.value());
}

}  // namespace

int start(const Options& options) {
  const ClusterConfig& config = options.cluster;
  if (::geteuid() != 0)
    return fail(Error(Code::Forbidden, "starting a cluster needs root: it makes namespaces, mounts and control groups"),
                "Try `sudo skiff start`.");
  cluster::Paths paths(config);
  if (pid_t pid = cluster::running_process(paths); pid != 0) {
    fmt::print(stderr, "Cluster '{}' is already running (process {}).\n", config.name, pid);
    use_context(config);
    return kDone;
  }
  ProgressLine progress;
  progress.step(fmt::format("starting cluster '{}'", config.name));
  Status started = cluster::launch_daemon(config, serve_arguments(options),
                                          [&](const std::string& step) { progress.step(step); });
  if (!started.ok()) {
    progress.finish("failed");
    return fail(started.error(), fmt::format("`skiff delete{}` removes what there is of it; the log is {}.",
                                             profile_flag(config), paths.log()));
  }
  progress.finish(fmt::format("cluster '{}' is ready", config.name));
  use_context(config);
  return kDone;
}

int serve(const Options& options, int progress_fd) {
  cluster::block_signals();
  cluster::ProgressPipe progress(progress_fd);
  Result<std::unique_ptr<Cluster>> started =
      Cluster::start(options.cluster, [&](const std::string& step) { progress.step(step); });
  if (!started.ok()) {
    progress.failed(started.error());
    log::error("skiff", "{}", started.error().message());
    return kFailed;
  }
  progress.ready();
  if (progress_fd >= 0) ::close(progress_fd);
  log::info("skiff", "cluster '{}' is ready at {}", options.cluster.name, started.value()->api_url());
  cluster::wait_for_signal();
  log::info("skiff", "stopping");
  if (Status stopped = started.value()->stop(); !stopped.ok()) {
    log::error("skiff", "{}", stopped.error().message());
    return kFailed;
  }
  return kDone;
}

int stop(const Options& options) {
  ProgressLine progress;
  progress.step(fmt::format("stopping cluster '{}'", options.cluster.name));
  Status stopped = cluster::stop_daemon(options.cluster, kStopPatience);
  if (stopped.ok()) return progress.finish(fmt::format("cluster '{}' is stopped", options.cluster.name)), kDone;
  progress.finish("not stopped");
  if (stopped.error().code() == Code::NotFound) return fail(stopped.error()), kNotRunning;
  return fail(stopped.error());
}

int remove(const Options& options) {
  const ClusterConfig& config = options.cluster;
  ProgressLine progress;
  progress.step(fmt::format("deleting cluster '{}'", config.name));
  Status stopped = cluster::stop_daemon(config, kStopPatience);
  Status removed = stopped.ok() || stopped.error().code() == Code::NotFound ? delete_cluster(config) : std::move(stopped);
  if (!removed.ok()) {
    progress.finish("not deleted");
    if (removed.error().code() == Code::NotFound) return fail(removed.error()), kNotRunning;
    return fail(removed.error());
  }
  if (Status forgotten = cluster::forget_user_kubeconfig(config); !forgotten.ok())
    fmt::print(stderr, "skiff: warning: {}\n", forgotten.error().message());
  progress.finish(fmt::format("cluster '{}' is gone", config.name));
  return kDone;
}

int status(const Options& options) {
  const ClusterConfig& config = options.cluster;
  cluster::Paths paths(config);
  Result<cluster::Settings> settings = cluster::load_settings(config);
  if (!settings.ok()) return fail(settings.error(), "`skiff start` makes one."), kNotRunning;
  pid_t pid = cluster::running_process(paths);
  Result<client::KubeconfigEntry> entry = cluster::read_cluster_kubeconfig(config);
  std::string api = "stopped";
  if (pid != 0 && entry.ok()) {
    auto http = client::HttpClient::create(entry.value(), 5s);
    Result<client::HttpAnswer> answer =
        http.ok() ? http.value()->get("/readyz") : Result<client::HttpAnswer>(http.error());
    api = !answer.ok() ? answer.error().message() : answer.value().status == 200 ? "ready" : "not ready";
  }
  fmt::print("cluster:    {}\n", config.name);
  fmt::print("process:    {}\n", pid != 0 ? std::to_string(pid) : "none");
  fmt::print("api:        {}\n", api);
  if (entry.ok()) fmt::print("server:     {}\n", entry.value().server);
  fmt::print("context:    {}\n", cluster::context_name(config));
  if (Result<std::vector<cluster::NodeRecord>> nodes = cluster::load_records(settings.value()); nodes.ok())
    fmt::print("nodes:      {}\n", nodes.value().size());
  fmt::print("directory:  {}\n", paths.root());
  return api == "ready" ? kDone : kNotRunning;
}

int version(const Options&) {
  fmt::print("skiff {} (Kubernetes {})\n", kVersion, kKubernetesVersion);
  return kDone;
}

}  // namespace skiff::cli
