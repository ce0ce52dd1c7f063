#include "cluster/node.hpp"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>

#include "cluster/images.hpp"
#include "cluster/network.hpp"
#include "kubelet/kubelet.hpp"
#include "net/pod_network.hpp"
#include "runtime/node.hpp"
#include "skiff/version.hpp"
#include "sys/files.hpp"
#include "sys/namespaces.hpp"

namespace skiff::cluster {

void KubeletDirectory::add(const std::string& node, std::shared_ptr<client::NodeAccess> kubelet) {
  MutexLock lock(mutex_);
  kubelets_[node] = std::move(kubelet);
}

void KubeletDirectory::remove(const std::string& node) {
  MutexLock lock(mutex_);
  kubelets_.erase(node);
}

std::shared_ptr<client::NodeAccess> KubeletDirectory::find(const std::string& node) const {
  MutexLock lock(mutex_);
  auto found = kubelets_.find(node);
  return found == kubelets_.end() ? nullptr : found->second;
}

namespace {

// A pod has its network only when the policies about it are in force.
class PolicedNetwork final : public kubelet::PodNetwork {
 public:
  PolicedNetwork(net::PodNetwork& pods, ClusterNetwork& cluster) : pods_(pods), cluster_(cluster) {}
  Result<std::vector<std::string>> attach(const std::string& uid, const UniqueFd& network) override {
    TRY_ASSIGN(std::vector<net::Address> addresses, pods_.attach(uid, network));
    TRY(cluster_.admit_pod(uid, addresses));
    return kubelet::texts(addresses);
  }
  Status detach(const std::string& uid) override {
    cluster_.forget_pod(uid);
    return pods_.detach(uid);
  }
  Status sweep(const std::set<std::string>& live) override { return pods_.sweep(live); }

 private:
  net::PodNetwork& pods_;
  ClusterNetwork& cluster_;
};

}  // namespace

// Members in the order they are made.
struct NodeParts::Parts {
  NodeSurroundings around;
  NodeRecord record;
  int index;
  std::string name, directory;
  std::vector<net::Address> addresses;
  kubelet::ContainerExits exits;
  std::unique_ptr<runtime::Node> runtime;
  std::unique_ptr<net::PodNetwork> pods;
  std::unique_ptr<PolicedNetwork> pod_network;
  std::unique_ptr<kubelet::Kubelet> kubelet;

  Status open();
  Status set_size();
  Status register_taints();
  kubelet::KubeletSpec spec() const;
};

namespace {

runtime::NodeSpec runtime_spec(const Settings& settings, const std::string& name) {
  return {.directory = Paths(settings.config).node(name),
          .hostname = name,
          .cgroup = settings.cgroup() + "/" + name};
}

}  // namespace

Status NodeParts::Parts::open() {
  runtime::NodeSpec node = runtime_spec(around.settings, name);
  TRY(sys::make_directories(directory, 0755));
  runtime::NodeSystem system{around.cgroups, around.clock};
  auto on_exit = [this](const runtime::ContainerStatus& container) { exits.notify(container); };
  Result<std::unique_ptr<runtime::Node>> running = runtime::Node::connect(node, system, on_exit);
  if (!running.ok() && running.error().code() == Code::NotFound) running = runtime::Node::start(node, system, on_exit);
  TRY_ASSIGN(runtime, std::move(running));
  TRY(set_size());
  net::NodeLink link{.index = index, .network = runtime->network(), .pods = around.settings.node_pods(index)};
  TRY(around.host.ensure_node(link));
  TRY_ASSIGN(pods, net::PodNetwork::open(runtime->network(), {.pods = link.pods}));
  pod_network = std::make_unique<PolicedNetwork>(*pods, around.network);
  return ok();
}

// A node has what its control group lets it use.
Status NodeParts::Parts::set_size() {
  sys::CgroupLimits limits;
  limits.cpu_quota_us = record.milli_cpus == 0 ? -1 : record.milli_cpus * static_cast<std::int64_t>(limits.cpu_period_us) / 1000;
  limits.memory_bytes = record.memory == 0 ? -1 : record.memory;
  return around.cgroups.set_limits(runtime->cgroup(), limits);
}

// Before the node is Ready, or pods would slip in.
Status NodeParts::Parts::register_taints() {
  if (record.taints.empty() || around.client.get<api::Node>({"", name}).ok()) return ok();
  api::Node node;
  node.metadata.name = name;
  TRY_ASSIGN(node.spec.taints, parse_taints(record.taints));
  Result<client::Ref<api::Node>> created = around.client.create(std::move(node));
  return created.ok() ? ok() : Status(created.error());
}

kubelet::KubeletSpec NodeParts::Parts::spec() const {
  const Settings& settings = around.settings;
  kubelet::KubeletSpec spec;
  spec.name = name;
  spec.directory = directory;
  spec.cgroup = runtime->cgroup();
  spec.ips = kubelet::texts(addresses);
  for (const net::Cidr& range : settings.node_pods(index)) spec.pod_cidrs.push_back(range.str());
  spec.version = kKubernetesVersion;
  spec.machine_id = fmt::format("{}{:026x}", settings.id, index);
  spec.labels = record.labels;
  if (record.milli_cpus != 0) spec.capacity["cpu"] = api::Quantity::of_milli(record.milli_cpus);
  if (record.memory != 0) spec.capacity["memory"] = api::Quantity::of_bytes(record.memory);
  spec.lease_period = std::min<Duration>(10s, std::chrono::seconds(settings.config.node_grace) / 4);
  if (index == 0) spec.labels["node-role.kubernetes.io/control-plane"] = "";
  spec.dns.domain = settings.config.cluster_domain;
  spec.dns.servers = {settings.service_address(10).str()};
  spec.user_ids_directory = settings.config.home + "/user-ids";
  spec.images_in_use = [home = settings.config.home] { return images_in_use(home); };
  // For tests of recovery: the process is killed the first time a pod gets to this point.
  if (const char* point = ::getenv("SKIFF_TEST_KILL_AT"))
    spec.TEST_reached = [point = std::string(point)](std::string_view reached) {
      if (reached == point) ::kill(::getpid(), SIGKILL);
    };
  // A host without one has pods with dnsPolicy Default ask nobody.
  if (Result<std::string> resolvers = sys::read_file("/etc/resolv.conf"); resolvers.ok())
    spec.dns.host_resolv_conf = std::move(resolvers).value();
  return spec;
}

NodeParts::NodeParts(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
NodeParts::~NodeParts() { stop(); }

Result<std::unique_ptr<NodeParts>> NodeParts::create(const NodeSurroundings& around, const NodeRecord& record) {
  std::unique_ptr<Parts> parts(new Parts{.around = around,
                                         .record = record,
                                         .index = record.index,
                                         .name = record.name,
                                         .directory = Paths(around.settings.config).node(record.name),
                                         .addresses = around.host.node_addresses(record.index)});
  Status opened = parts->open();
  if (!opened.ok()) return std::move(opened).error().in("node '" + record.name + "'");
  return std::unique_ptr<NodeParts>(new NodeParts(std::move(parts)));
}

const UniqueFd& NodeParts::network() const { return parts_->runtime->network(); }
const UniqueFd& NodeParts::process() const { return parts_->runtime->process(); }
const std::vector<net::Address>& NodeParts::addresses() const { return parts_->addresses; }
const std::string& NodeParts::name() const { return parts_->name; }

Status NodeParts::start() {
  const NodeSurroundings& around = parts_->around;
  TRY(parts_->register_taints());
  TRY_ASSIGN(parts_->kubelet, kubelet::Kubelet::start(parts_->spec(), {.client = around.client,
                                                                      .node = *parts_->runtime,
                                                                      .exits = parts_->exits,
                                                                      .cgroups = around.cgroups,
                                                                      .images = around.images,
                                                                      .registries = around.registries,
                                                                      .network = *parts_->pod_network,
                                                                      .clock = around.clock,
                                                                      .random = around.random}));
  around.kubelets.add(parts_->name, parts_->kubelet->access());
  return ok();
}

void NodeParts::stop() {
  if (!parts_) return;
  parts_->around.kubelets.remove(parts_->name);
  parts_->kubelet.reset();
}

Status NodeParts::power_off() {
  stop();
  TRY(parts_->runtime->power_off());
  return parts_->around.host.remove_node(parts_->index);
}

Status remove_traces(const Settings& settings) {
  SystemClock clock;
  TRY_ASSIGN(std::unique_ptr<sys::CgroupTree> cgroups, sys::CgroupTree::detect());
  TRY_ASSIGN(std::vector<NodeRecord> records, load_records(settings));
  for (const NodeRecord& record : records) {
    TRY(cgroups->signal_all(settings.cgroup() + "/" + record.name, SIGCONT));  // frozen ones could not answer
    Result<std::unique_ptr<runtime::Node>> node = runtime::Node::connect(
        runtime_spec(settings, record.name), {*cgroups, clock}, [](const runtime::ContainerStatus&) {});
    if (node.ok()) TRY(node.value()->power_off());
    else if (node.error().code() != Code::NotFound) return std::move(node).error();
  }
  TRY(cgroups->remove(settings.cgroup(), clock));
  TRY(cgroups->remove_if_empty(settings.config.cgroup_root));
  TRY_ASSIGN(UniqueFd network, sys::open_namespace(sys::Namespace::Network));
  TRY_ASSIGN(std::unique_ptr<net::HostNetwork> host,
             net::HostNetwork::open(std::move(network), {.cluster = settings.id, .ranges = settings.ranges()}));
  return host->remove();
}

}  // namespace skiff::cluster
