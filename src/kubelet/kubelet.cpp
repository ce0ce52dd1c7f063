#include "kubelet/kubelet.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "kubelet/adopt.hpp"
#include "kubelet/container_spec.hpp"
#include "api/gen/volume.hpp"
#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

std::string label(const runtime::Labels& labels, const char* name) {
  auto found = labels.find(name);
  return found == labels.end() ? "" : found->second;
}

client::Ref<api::Pod> as_pod(const client::AnyRef& any) { return any ? any.as<api::Pod>() : nullptr; }

std::vector<runtime::ContainerStatus> containers_of(const runtime::NodeContents& contents,
                                                    const std::string& uid) {
  std::vector<runtime::ContainerStatus> own;
  for (const runtime::ContainerStatus& container : contents.containers)
    if (label(container.labels, kPodUid) == uid) own.push_back(container);
  return own;
}

}  // namespace

void ContainerExits::notify(const runtime::ContainerStatus& container) {
  MutexLock lock(
      mutex_);  // held across the call: once listen(nullptr) returns, nobody is in the old listener
  if (listener_) listener_(container);
}

void ContainerExits::listen(std::function<void(const runtime::ContainerStatus&)> listener) {
  MutexLock lock(mutex_);
  listener_ = std::move(listener);
}

Kubelet::Kubelet(KubeletSpec spec, KubeletParts parts)
    : spec_(std::move(spec)),
      parts_(parts),
      description_(describe_node()),
      events_(parts.client, parts.clock, parts.random, "kubelet", spec_.name),
      cgroups_(parts.cgroups, parts.clock, spec_.cgroup),
      volumes_({parts.node, parts.client, parts.images, parts.clock, parts.random, spec_.name}),
      handlers_(parts.node, parts.clock),
      room_(amounts_of(description_.allocatable)),
      workers_(parts.client, parts.clock),
      probes_(handlers_, parts.clock, [this](const ProbeNews& news) { workers_.probed(news); }),
      pulls_(parts.images, parts.registries, parts.clock, [this](const std::string& uid) { workers_.wake(uid); }),
      runtime_({parts.client, parts.node, parts.images, pulls_, parts.network, cgroups_, volumes_, handlers_, probes_,
                events_, room_, parts.clock, parts.random},
               facts(description_), [this](const std::string& uid) { workers_.wake(uid); }),
      usage_({workers_, cgroups_, parts.cgroups, parts.node, parts.clock, spec_.name, spec_.directory,
              parts.images.directory()}),
      access_(std::make_shared<KubeletAccess>(workers_, runtime_, parts.node, usage_, parts.clock)),
      static_pods_(spec_.directory + "/manifests", spec_.name,
                   {[this](const client::Ref<api::Pod>& pod) { workers_.update(pod); },
                    [this](const std::string& uid) { workers_.removed(uid); }}),
      registration_(parts.client, parts.clock, description_),
      collector_(parts.images, parts.clock, spec_.image_collection, collector_uses()),
      eviction_(parts.clock, spec_.eviction, eviction_uses()),
      pods_(parts.client, parts.clock, api::kind_of<api::Pod>(),
            {.namespace_ = {}, .label_selector = {}, .field_selector = "spec.nodeName=" + spec_.name}),
      config_(parts.client, parts.clock,
              {&api::kind_of<api::ConfigMap>(), &api::kind_of<api::Secret>(), &api::kind_of<api::PersistentVolumeClaim>()}) {}

Kubelet::~Kubelet() {
  parts_.exits.listen(nullptr);
  collector_.stop();
  eviction_.stop();
  static_pods_.stop();
  pods_.stop();
  config_.stop();
  workers_.stop();  // before the probes and hooks it reaches through the runtime go
}

ImageCollector::Uses Kubelet::collector_uses() {
  ImageCollector::Uses uses;
  uses.in_use = spec_.images_in_use;
  if (!uses.in_use) uses.in_use = [this] { return kubelet::images_in_use(spec_.directory); };
  uses.disk = [this] { return disk_space(parts_.images.directory()); };
  uses.failed = [this](const std::string& message) {
    api::ObjectReference node;
    node.kind = "Node";
    node.name = node.uid = spec_.name;
    events_.warning(node, "FreeDiskSpaceFailed", message);
  };
  return uses;
}

EvictionManager::Uses Kubelet::eviction_uses() {
  EvictionManager::Uses uses;
  uses.signals = [this] { return read_signals(spec_.directory); };
  uses.pods = [this](bool full) { return usage_.pods(full); };
  uses.any_disk_limits = [this] {
    return std::ranges::any_of(pods_.list(), [](const client::AnyRef& pod) { return limits_disk(*as_pod(pod)); });
  };
  uses.evict = [this](const EvictionChoice& choice) { workers_.evict(choice.pod_uid, choice.message); };
  uses.reclaim_disk = [this] { collector_.free_all(); };
  uses.tell = [this](const Pressure& pressure) { registration_.set_pressure(pressure); };
  return uses;
}

Result<std::unique_ptr<Kubelet>> Kubelet::start(KubeletSpec spec, KubeletParts parts) {
  std::unique_ptr<Kubelet> kubelet(new Kubelet(std::move(spec), parts));
  TRY(kubelet->run());
  return kubelet;
}

NodeDescription Kubelet::describe_node() const {
  NodeDescription description;
  description.name = spec_.name;
  description.ips = spec_.ips;
  description.pod_cidrs = spec_.pod_cidrs;
  description.version = spec_.version;
  description.labels = spec_.labels;
  description.capacity = machine_capacity(spec_.directory, spec_.max_pods);
  for (const auto& [name, amount] : spec_.capacity) description.capacity[name] = amount;
  description.lease_period = spec_.lease_period;
  description.allocatable = description.capacity;
  description.info = machine_info(spec_.version, spec_.machine_id);
  description.port = spec_.port;
  return description;
}

NodeFacts Kubelet::facts(const NodeDescription& description) const {
  return {spec_.name,           spec_.directory,      spec_.ips, spec_.dns, description.allocatable,
          spec_.unsafe_sysctls, spec_.seccomp_directory,
          spec_.user_ids_directory.empty() ? spec_.directory + "/user-ids" : spec_.user_ids_directory, spec_.TEST_reached};
}

std::vector<api::ContainerImage> Kubelet::node_images() const {
  std::vector<api::ContainerImage> images;
  Result<std::vector<image::Image>> known = parts_.images.list();
  if (!known.ok()) return images;
  for (const image::Image& image : known.value()) {
    api::ContainerImage entry;
    entry.names = image.digests;
    entry.names.insert(entry.names.end(), image.names.begin(), image.names.end());
    entry.sizeBytes = static_cast<std::int64_t>(image.size);
    images.push_back(std::move(entry));
  }
  constexpr size_t kMostImages = 50;  // the largest ones, as the kubelet reports them
  std::ranges::stable_sort(images, std::ranges::greater{}, &api::ContainerImage::sizeBytes);
  if (images.size() > kMostImages) images.resize(kMostImages);
  return images;
}

void Kubelet::watch_pods() {
  // Until everything is taken over the informer only fills its cache; adopt_all reads it then.
  pods_.on_change([this](const client::AnyRef& before, const client::AnyRef& now) {
    if (!adopted_) return;
    client::Ref<api::Pod> old = as_pod(before), pod = as_pod(now);
    // A mirror only shows a static pod, whose worker sees to it.
    if (std::string hash = mirrored_hash(*(pod ? pod : old)); !hash.empty()) return workers_.wake(hash);
    bool replaced = old && (!pod || pod->metadata.uid != old->metadata.uid);
    if (replaced) workers_.removed(old->metadata.uid);
    if (pod) workers_.update(pod);
  });
}

void Kubelet::watch_config() {
  config_.on_change([this](const client::MetadataEvent& event) {
    if (!adopted_) return;
    client::ObjectKey key = client::key_of(*event.metadata);
    if (event.kind == &api::kind_of<api::PersistentVolumeClaim>()) workers_.claim_changed(key);
    else workers_.config_changed(event.kind == &api::kind_of<api::Secret>(), key);
  });
}

/// The API's pods of this node and those of files; what a mirror's status says is said of the static pod.
std::vector<client::Ref<api::Pod>> Kubelet::wanted_pods() {
  std::vector<client::Ref<api::Pod>> pods;
  std::map<std::string, client::Ref<api::Pod>> mirrors;
  for (const client::AnyRef& any : pods_.list()) {
    client::Ref<api::Pod> pod = as_pod(any);
    std::string hash = mirrored_hash(*pod);
    if (hash.empty()) pods.push_back(std::move(pod));
    else mirrors[hash] = std::move(pod);
  }
  for (const client::Ref<api::Pod>& pod : static_pods_.read()) {
    api::Pod known = *pod;
    if (auto mirror = mirrors.find(static_hash(*pod)); mirror != mirrors.end()) known.status = mirror->second->status;
    pods.push_back(std::make_shared<const api::Pod>(std::move(known)));
  }
  return pods;
}

Status Kubelet::adopt_known(const runtime::NodeContents& contents, std::set<std::string>& live) {
  std::set<std::string> sandboxes;
  for (const runtime::SandboxStatus& sandbox : contents.sandboxes) sandboxes.insert(sandbox.id);
  for (const client::Ref<api::Pod>& pod : wanted_pods()) {
    const std::string& uid = pod->metadata.uid;
    live.insert(uid);
    PodState state = adopt(*pod, containers_of(contents, uid), parts_.clock.wall_now());
    if (sandboxes.contains(uid)) {
      TRY_ASSIGN(state.network, parts_.node.sandbox_network(uid));
      state.sandbox = uid;
      if (pod->spec.hostNetwork) {
        state.ips = spec_.ips;
      } else {
        TRY_ASSIGN(state.ips, parts_.network.attach(uid, state.network));
      }
    } else if (!pod->status.containerStatuses.empty() && pod->status.phase == "Running") {
      events_.normal(client::reference_to(pod), "SandboxChanged",
                     "Pod sandbox changed, it will be killed and re-created.");
    }
    workers_.adopt_pod(pod, std::move(state));
  }
  return ok();
}

/// What runs here and no pod of the API owns: it is stopped and cleared away by a worker like any other.
void Kubelet::adopt_orphans(const runtime::NodeContents& contents, std::set<std::string>& live) {
  for (const runtime::SandboxStatus& sandbox : contents.sandboxes) {
    if (!live.insert(sandbox.id).second) continue;
    api::Pod pod;
    pod.metadata.uid = sandbox.id;
    pod.metadata.name = label(sandbox.labels, kPodName);
    pod.metadata.namespace_ = label(sandbox.labels, kPodNamespace);
    std::vector<runtime::ContainerStatus> containers = containers_of(contents, sandbox.id);
    for (const runtime::ContainerStatus& container : containers) {
      std::string name = label(container.labels, kContainerName);
      if (find_container(pod, name) != nullptr) continue;
      pod.spec.containers.emplace_back().name = name;
    }
    PodState state = adopt(pod, containers, parts_.clock.wall_now());
    state.sandbox = sandbox.id;
    workers_.adopt_pod(std::make_shared<api::Pod>(std::move(pod)), std::move(state), true);
  }
}

/// Traces of pods that neither run nor are wanted.
Status Kubelet::sweep(const std::set<std::string>& live) {
  TRY(parts_.network.sweep(live));
  Result<std::vector<std::string>> directories = sys::list_directory(spec_.directory + "/pods");
  if (!directories.ok()) return ok();  // the first start
  for (const std::string& uid : directories.value()) {
    if (live.contains(uid)) continue;
    TRY(volumes_.tear_down(runtime_.pod_directory(uid), uid));
    TRY(cgroups_.tear_down(uid));
    TRY(runtime_.remove_logs(uid));
  }
  return ok();
}

Status Kubelet::adopt_all() {
  // Exits from here on reach the workers once they exist; those before are in the list.
  TRY_ASSIGN(runtime::NodeContents contents, parts_.node.list());
  std::set<std::string> live;
  TRY(adopt_known(contents, live));
  adopt_orphans(contents, live);
  TRY(sweep(live));
  parts_.exits.listen([this](const runtime::ContainerStatus& container) { workers_.exited(container); });
  // What ended between the list and listening.
  TRY_ASSIGN(runtime::NodeContents again, parts_.node.list());
  for (const runtime::ContainerStatus& container : again.containers)
    if (container.state == runtime::ContainerState::Exited) workers_.exited(container);
  adopted_ = true;
  // And what the API changed meanwhile.
  for (const client::AnyRef& any : pods_.list())
    if (client::Ref<api::Pod> pod = as_pod(any); mirrored_hash(*pod).empty()) workers_.update(pod);
  return ok();
}

Status Kubelet::run() {
  TRY(cgroups_.prepare());
  watch_pods();
  watch_config();
  pods_.start();
  config_.start();
  if (!pods_.wait_synced({})) return error(Code::Canceled, "the kubelet was stopped while it started");
  TRY(adopt_all());
  workers_.start(runtime_, spec_.workers);
  TRY(registration_.start([this] { return node_images(); }));
  collector_.start();
  eviction_.start();
  return static_pods_.start();
}

}  // namespace skiff::kubelet
