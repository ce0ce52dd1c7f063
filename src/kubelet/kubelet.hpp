#pragma once
// The agent of one node: registers it, finds again what runs on it, keeps its pods as the API says.

#include <memory>
#include <string>
#include <vector>

#include "client/informer.hpp"
#include "client/metadata_feed.hpp"
#include "kubelet/image_collector.hpp"
#include "kubelet/node_access.hpp"
#include "kubelet/node_registration.hpp"
#include "kubelet/pod_workers.hpp"
#include "kubelet/static_pods.hpp"

namespace skiff::kubelet {

/// Carries container exits from runtime::Node (made first) to the Kubelet (made later). Exits before anybody
/// listens need no keeping: the Kubelet lists the node when it starts.
class ContainerExits {
 public:
  void notify(const runtime::ContainerStatus& container);
  void listen(std::function<void(const runtime::ContainerStatus&)> listener);

 private:
  Mutex mutex_;
  std::function<void(const runtime::ContainerStatus&)> listener_ GUARDED_BY(mutex_);
};

struct KubeletSpec {
  std::string name;
  std::string directory;  // the node's own
  std::string cgroup;     // the node's own group
  std::vector<std::string> ips;        // one a family, the main one first
  std::vector<std::string> pod_cidrs;  // the same
  std::string version = "v1.36.0";
  std::string machine_id;  // 32 hexadecimal digits, stable
  std::map<std::string, std::string> labels;
  std::map<std::string, api::Quantity> capacity;  // where it differs from the machine's
  Duration lease_period = 10s;
  DnsSettings dns;
  int max_pods = 110;
  std::int32_t port = 10250;
  int workers = 4;
  EvictionThresholds eviction;
  CollectionPolicy image_collection;
  std::function<std::set<std::string>()> images_in_use;  // by any pod of the host; unset: only this node's count
  std::set<std::string> unsafe_sysctls;  // allowed beyond the safe ones ("kernel.msg*")
  std::string seccomp_directory = "/var/lib/kubelet/seccomp";
  std::string user_ids_directory;        // shared by all nodes of the host; "": the node's own
  std::function<void(std::string_view point)> TEST_reached;  // see NodeFacts
};

/// What the kubelet uses and does not own; all of it outlives the kubelet.
struct KubeletParts {
  client::Client& client;
  runtime::Node& node;
  ContainerExits& exits;
  sys::CgroupTree& cgroups;
  image::ContentStore& images;
  const image::RegistryConfig& registries;
  PodNetwork& network;
  Clock& clock;
  Random& random;
};

class Kubelet {
 public:
  /// Registers the node (Ready when this returns) and takes over what runs there. The destructor stops the
  /// agent, not the pods.
  static Result<std::unique_ptr<Kubelet>> start(KubeletSpec spec, KubeletParts parts);
  ~Kubelet();

  /// Not to be used once the kubelet is gone.
  std::shared_ptr<client::NodeAccess> access() { return access_; }

 private:
  Kubelet(KubeletSpec spec, KubeletParts parts);
  Status run();
  Status adopt_all();
  std::vector<client::Ref<api::Pod>> wanted_pods();
  Status adopt_known(const runtime::NodeContents& contents, std::set<std::string>& live);
  void adopt_orphans(const runtime::NodeContents& contents, std::set<std::string>& live);
  Status sweep(const std::set<std::string>& live);
  EvictionManager::Uses eviction_uses();
  ImageCollector::Uses collector_uses();
  void watch_pods();
  void watch_config();
  std::vector<api::ContainerImage> node_images() const;
  NodeDescription describe_node() const;
  NodeFacts facts(const NodeDescription& description) const;

  const KubeletSpec spec_;
  KubeletParts parts_;
  const NodeDescription description_;
  client::EventRecorder events_;
  PodCgroups cgroups_;
  Volumes volumes_;
  Handlers handlers_;
  NodeRoom room_;
  PodWorkers workers_;
  ProbeRunner probes_;
  ImagePulls pulls_;
  PodRuntime runtime_;
  UsageCollector usage_;
  std::shared_ptr<KubeletAccess> access_;
  StaticPods static_pods_;
  NodeRegistration registration_;
  ImageCollector collector_;
  EvictionManager eviction_;
  std::atomic<bool> adopted_{false};
  client::AnyInformer pods_;
  client::MetadataFeed config_;  // ConfigMaps, Secrets, claims
};

}  // namespace skiff::kubelet
