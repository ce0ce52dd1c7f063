#include "cluster/fake_nodes.hpp"

#include "api/pods.hpp"
#include "client/together.hpp"
#include "controllers/node_health.hpp"
#include "skiff/version.hpp"

namespace skiff::cluster {
namespace {

constexpr int kWorkers = 8;
constexpr int kAtOnce = 32;

api::PodCondition true_condition(const char* type, api::Time now) {
  api::PodCondition condition;
  condition.type = type;
  condition.status = "True";
  condition.lastTransitionTime = now;
  return condition;
}

}  // namespace

FakeNodes::FakeNodes(client::Client& client, client::Informers& informers, Clock& clock, const Settings& settings)
    : client_(client),
      clock_(clock),
      settings_(settings),
      pods_(informers.of<api::Pod>()),
      nodes_(informers.of<api::Node>()),
      runner_(clock, *this) {
  pods_.on_change([this](const client::Ref<api::Pod>& before, const client::Ref<api::Pod>& now) {
    if (!now || now->spec.nodeName.empty()) return;
    bool same = before && !before->spec.nodeName.empty() && before->metadata.uid == now->metadata.uid &&
                !before->metadata.deletionTimestamp == !now->metadata.deletionTimestamp;
    client::Ref<api::Node> node = same ? nullptr : nodes_.get({"", now->spec.nodeName});
    if (node && node->metadata.labels.contains(controllers::kSimulated)) runner_.queue().add(client::key_of(*now));
  });
}

api::Node FakeNodes::node(int index) const {
  api::Node node;
  node.metadata.name = fmt::format("{}-fake-{}", settings_.config.name, index + 1);
  auto& labels = node.metadata.labels;
  labels = {{"kubernetes.io/hostname", node.metadata.name}, {"kubernetes.io/os", "linux"}, {"kubernetes.io/arch", "amd64"},
            {controllers::kSimulated, "true"}};
  if (settings_.config.zones > 0)
    labels["topology.kubernetes.io/zone"] = fmt::format("zone-{}", index % settings_.config.zones + 1);
  node.status.capacity = {{"cpu", api::Quantity::of(32)},
                          {"memory", api::Quantity::of_bytes(256LL << 30)},
                          {"ephemeral-storage", api::Quantity::of_bytes(1024LL << 30)},
                          {"pods", api::Quantity::of(110)}};
  node.status.allocatable = node.status.capacity;
  node.status.nodeInfo.kubeletVersion = kKubernetesVersion;
  api::NodeCondition& ready = node.status.conditions.emplace_back();
  ready.type = "Ready";
  ready.status = "True";
  ready.reason = "KubeletReady";
  ready.message = "simulated node";
  ready.lastHeartbeatTime = ready.lastTransitionTime = api::Time::from(clock_.wall_now());
  return node;
}

Status FakeNodes::start(int count) {
  for (int first = 0; first < count; first += kAtOnce) {
    std::vector<client::Task> tasks;
    for (int index = first; index < std::min(count, first + kAtOnce); ++index)
      tasks.push_back([this, index]() -> Status {
        Result<client::Ref<api::Node>> created = client_.create(node(index));
        if (created.ok() || created.error().code() == Code::AlreadyExists) return ok();
        return std::move(created).error();
      });
    TRY(client::run_together(tasks));
  }
  runner_.start(kWorkers);
  return ok();
}

Result<client::Requeue> FakeNodes::reconcile(const client::ObjectKey& key) {
  client::Ref<api::Pod> pod = pods_.get(key);
  if (!pod || pod->spec.nodeName.empty()) return client::Requeue::never();
  Status done = ok();
  if (pod->metadata.deletionTimestamp) {
    Result<client::AnyRef> removed = client_.remove<api::Pod>(key, {.grace_seconds = 0, .uid = pod->metadata.uid});
    if (!removed.ok()) done = removed.error();
  } else if (!api::is_finished(*pod)) {
    done = run(*pod);
  }
  if (!done.ok() && done.error().code() != Code::NotFound) return std::move(done).error();
  return client::Requeue::never();
}

// Addresses for carrier networks: nothing of the host's or the cluster's is there.
std::string FakeNodes::next_address() {
  std::uint32_t n = ++addresses_ & 0x3fffffU;
  return fmt::format("100.{}.{}.{}", 64 + (n >> 16), n >> 8 & 255U, n & 255U);
}

Status FakeNodes::run(const api::Pod& pod) {
  Result<client::Ref<api::Pod>> written = client_.update_with_retry<api::Pod>(
      client::key_of(pod),
      [&](api::Pod& next) {
        if (next.metadata.uid != pod.metadata.uid || next.status.phase == "Running") return false;
        const api::Time now = api::Time::from(clock_.wall_now());
        next.status.phase = "Running";
        next.status.startTime = now;
        next.status.podIP = next_address();
        next.status.podIPs.clear();
        next.status.podIPs.emplace_back().ip = next.status.podIP;
        for (const char* type : {"PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"})
          api::set_condition(next.status, true_condition(type, now));
        next.status.containerStatuses.clear();
        for (const api::Container& container : next.spec.containers) {
          api::ContainerStatus& status = next.status.containerStatuses.emplace_back();
          status.name = container.name;
          status.image = container.image;
          status.ready = status.started.emplace() = true;
          status.state.running.ensure().startedAt = now;
        }
        return true;
      },
      true);
  return written.ok() ? ok() : Status(written.error());
}

}  // namespace skiff::cluster
