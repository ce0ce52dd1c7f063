#include "kubelet/static_pods.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#include "api/defaults.hpp"
#include "api/json.hpp"
#include "base/log.hpp"
#include "client/yaml.hpp"
#include "image/digest.hpp"
#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

constexpr const char* kSource = "kubernetes.io/config.source";
constexpr const char* kHash = "kubernetes.io/config.hash";
constexpr const char* kMirror = "kubernetes.io/config.mirror";

std::string annotation(const api::Pod& pod, const char* name) {
  auto found = pod.metadata.annotations.find(name);
  return found == pod.metadata.annotations.end() ? "" : found->second;
}

bool is_manifest(const std::string& name) { return !name.starts_with('.') && !name.ends_with('~'); }

}  // namespace

std::string static_hash(const api::Pod& pod) {
  return annotation(pod, kSource) == "file" && annotation(pod, kMirror).empty() ? annotation(pod, kHash) : "";
}

std::string mirrored_hash(const api::Pod& pod) { return annotation(pod, kMirror); }

Result<api::Pod> static_pod(const std::string& text, const std::string& file, const std::string& node) {
  TRY_ASSIGN(std::string json, client::json_from_yaml(text));
  api::Pod pod;
  api::DecodeReport report;
  TRY(api::decode_json(json, api::type_of<api::Pod>(), &pod, &report));
  if (report.kind != "Pod" || pod.metadata.name.empty() || pod.spec.containers.empty())
    return error(Code::Invalid, "{} holds no pod with a name and a container", file);
  api::apply_defaults(pod);
  std::string digest = image::digest_of(file + "\n" + node + "\n" + text);
  std::string hash(image::hex_of(digest).substr(0, 32));
  pod.metadata.name += "-" + node;
  if (pod.metadata.namespace_.empty()) pod.metadata.namespace_ = "default";
  pod.metadata.uid = hash;
  pod.metadata.annotations[kSource] = "file";
  pod.metadata.annotations[kHash] = hash;
  pod.spec.nodeName = node;
  // It outlives every taint: nobody could put it elsewhere.
  api::Toleration& all = pod.spec.tolerations.emplace_back();
  all.operator_ = "Exists";
  all.effect = "NoExecute";
  return pod;
}

api::Pod mirror_of(const api::Pod& pod, const std::string& node_uid) {
  api::Pod mirror = pod;
  mirror.metadata.uid.clear();
  mirror.status = {};
  mirror.metadata.annotations[kMirror] = annotation(pod, kHash);
  api::OwnerReference& owner = mirror.metadata.ownerReferences.emplace_back();
  owner.apiVersion = "v1";
  owner.kind = "Node";
  owner.name = pod.spec.nodeName;
  owner.uid = node_uid;
  owner.controller = true;
  return mirror;
}

std::map<std::string, client::Ref<api::Pod>> StaticPods::load() const {
  std::map<std::string, client::Ref<api::Pod>> pods;
  Result<std::vector<std::string>> names = sys::list_directory(directory_);
  for (const std::string& name : names.ok() ? names.value() : std::vector<std::string>()) {
    if (!is_manifest(name)) continue;
    std::string path = directory_ + "/" + name;
    Result<std::string> text = sys::read_file(path, 1U << 20);
    Result<api::Pod> pod = text.ok() ? static_pod(text.value(), path, node_) : Result<api::Pod>(text.error());
    if (pod.ok())
      pods[pod.value().metadata.uid] = std::make_shared<const api::Pod>(pod.value());
    else
      log::warning("kubelet", "static pod {}: {}", path, pod.error().message());
  }
  return pods;
}

std::vector<client::Ref<api::Pod>> StaticPods::read() {
  known_ = load();
  std::vector<client::Ref<api::Pod>> pods;
  for (const auto& [uid, pod] : known_) pods.push_back(pod);
  return pods;
}

void StaticPods::compare() {
  std::map<std::string, client::Ref<api::Pod>> now = load();
  for (const auto& [uid, pod] : known_)
    if (!now.contains(uid)) uses_.removed(uid);
  for (const auto& [uid, pod] : now)
    if (!known_.contains(uid)) uses_.update(pod);
  known_ = std::move(now);
}

Status StaticPods::start() {
  TRY(sys::make_directories(directory_));
  inotify_ = UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  if (!inotify_ || !wake_ ||
      ::inotify_add_watch(inotify_.get(), directory_.c_str(), IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE) < 0)
    return errno_error(errno, "watch '{}'", directory_);
  thread_ = std::jthread([this](std::stop_token stop) { run(stop); });
  return ok();
}

void StaticPods::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  std::uint64_t one = 1;
  (void)sys::write_all(wake_, {reinterpret_cast<const char*>(&one), sizeof one}, "wake").ok();
  thread_.join();
}

void StaticPods::run(std::stop_token stop) {
  compare();  // what changed since they were read
  while (!stop.stop_requested()) {
    pollfd waiting[2] = {{inotify_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    if (::poll(waiting, 2, -1) <= 0 || stop.stop_requested()) continue;
    char events[4096];
    while (::read(inotify_.get(), events, sizeof events) > 0) {
    }
    compare();
  }
}

}  // namespace skiff::kubelet
