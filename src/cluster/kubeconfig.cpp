#include "cluster/kubeconfig.hpp"

#include <cstdlib>
#include <filesystem>

#include "api/json.hpp"
#include "base/encoding.hpp"
#include "client/http_client.hpp"
#include "cluster/state.hpp"
#include "sys/files.hpp"

namespace skiff::cluster {
namespace {

std::string user_file() {
  const char* variable = std::getenv("KUBECONFIG");
  if (variable && *variable) return std::filesystem::absolute(split(variable, ':')[0]).string();
  const char* home = std::getenv("HOME");
  return std::string(home && *home ? home : "/root") + "/.kube/config";
}

Result<std::string> read_or_empty(const std::string& path) {
  if (!sys::exists(path)) return std::string();
  return sys::read_file(path);
}

Status remember_user(const Paths& paths, const std::string& path) {
  TRY_ASSIGN(std::string users, read_or_empty(paths.kubeconfig_users()));
  for (const std::string& known : split(users, '\n'))
    if (known == path) return ok();
  return sys::replace_file(paths.kubeconfig_users(), users + path + "\n", 0600);
}

}  // namespace

std::string context_name(const ClusterConfig& config) {
  return config.name == "skiff" ? "skiff" : "skiff-" + config.name;
}

Result<std::string> merge_user_kubeconfig(const ClusterConfig& config) {
  TRY_ASSIGN(client::KubeconfigEntry entry, read_cluster_kubeconfig(config));
  std::string path = user_file();
  TRY(sys::make_directories(path.substr(0, path.rfind('/')), 0700));
  TRY_ASSIGN(std::string present, read_or_empty(path));
  Result<std::string> merged = client::merge_kubeconfig(present, entry);
  if (!merged.ok()) return std::move(merged).error().in(path);
  TRY(sys::replace_file(path, merged.value(), 0600));
  TRY(remember_user(Paths(config), path));
  return path;
}

Status renew_user_kubeconfigs(const ClusterConfig& config) {
  TRY_ASSIGN(client::KubeconfigEntry entry, read_cluster_kubeconfig(config));
  TRY_ASSIGN(std::string users, read_or_empty(Paths(config).kubeconfig_users()));
  for (const std::string& path : split(users, '\n')) {
    if (path.empty() || !sys::exists(path)) continue;
    TRY_ASSIGN(std::string present, sys::read_file(path));
    Result<std::string> renewed = client::renewed_kubeconfig(present, entry);
    if (!renewed.ok()) return std::move(renewed).error().in(path);
    if (renewed.value() != present) TRY(sys::replace_file(path, renewed.value(), 0600));
  }
  return ok();
}

Status forget_user_kubeconfig(const ClusterConfig& config) {
  std::string path = user_file();
  TRY_ASSIGN(std::string present, read_or_empty(path));
  if (present.empty()) return ok();
  Result<std::string> without = client::without_kubeconfig(present, context_name(config));
  if (!without.ok()) return std::move(without).error().in(path);
  return sys::replace_file(path, without.value(), 0600);
}

Result<client::KubeconfigEntry> read_cluster_kubeconfig(const ClusterConfig& config) {
  std::string path = Paths(config).kubeconfig();
  if (!sys::exists(path)) return error(Code::NotFound, "there is no cluster '{}'", config.name);
  TRY_ASSIGN(std::string text, sys::read_file(path));
  return client::read_kubeconfig(text);
}

Result<std::vector<api::Node>> fetch_nodes(const client::KubeconfigEntry& entry) {
  TRY_ASSIGN(auto http, client::HttpClient::create(entry, 5s));
  TRY_ASSIGN(client::HttpAnswer answer, http->get("/api/v1/nodes"));
  if (answer.status != 200) return error(Code::Unavailable, "GET /api/v1/nodes: HTTP {}: {}", answer.status, answer.body);
  return api::items_from_json<api::Node>(answer.body);
}

}  // namespace skiff::cluster
