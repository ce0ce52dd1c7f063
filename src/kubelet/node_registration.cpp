#include "kubelet/node_registration.hpp"

#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <charconv>

#include "api/gen/coordination.hpp"
#include "base/log.hpp"
#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

constexpr int kLeaseSeconds = 40;
constexpr Duration kStatusPeriod = 5min;

std::string first_line(const std::string& path) {
  Result<std::string> text = sys::read_file(path);
  return text.ok() ? text.value().substr(0, text.value().find('\n')) : "";
}

std::string os_image() {
  Result<std::string> text = sys::read_file("/etc/os-release");
  if (!text.ok()) return "Linux";
  size_t start = text.value().find("PRETTY_NAME=\"");
  if (start == std::string::npos) return "Linux";
  start += 13;
  return text.value().substr(start, text.value().find('"', start) - start);
}

std::string go_architecture(const std::string& machine) {
  if (machine == "x86_64") return "amd64";
  return machine == "aarch64" ? "arm64" : machine;
}

void set_condition(api::Node& node, api::NodeCondition wanted, api::Time now) {
  wanted.lastHeartbeatTime = wanted.lastTransitionTime = now;
  for (api::NodeCondition& known : node.status.conditions) {
    if (known.type != wanted.type) continue;
    if (known.status == wanted.status) wanted.lastTransitionTime = known.lastTransitionTime;
    known = wanted;
    return;
  }
  node.status.conditions.push_back(std::move(wanted));
}

api::NodeCondition condition(std::string type, std::string status, std::string reason, std::string message) {
  api::NodeCondition made;
  made.type = std::move(type);
  made.status = std::move(status);
  made.reason = std::move(reason);
  made.message = std::move(message);
  return made;
}

}  // namespace

std::map<std::string, api::Quantity> machine_capacity(const std::string& directory, int max_pods) {
  std::map<std::string, api::Quantity> capacity;
  capacity["cpu"] = api::Quantity::of(::sysconf(_SC_NPROCESSORS_ONLN));
  std::string memory = first_line("/proc/meminfo");  // "MemTotal:  16302048 kB"
  std::int64_t kib = 0;
  size_t digit = memory.find_first_of("0123456789");
  if (digit != std::string::npos) std::from_chars(memory.data() + digit, memory.data() + memory.size(), kib);
  capacity["memory"] = api::Quantity::of_bytes(kib * 1024);
  struct statvfs disk {};
  if (::statvfs(directory.c_str(), &disk) == 0)
    capacity["ephemeral-storage"] =
        api::Quantity::of_bytes(static_cast<std::int64_t>(disk.f_blocks * disk.f_frsize));
  capacity["pods"] = api::Quantity::of(max_pods);
  return capacity;
}

api::NodeSystemInfo machine_info(const std::string& version, const std::string& machine_id) {
  utsname system{};
  ::uname(&system);
  api::NodeSystemInfo info;
  info.machineID = machine_id;
  info.systemUUID = machine_id;
  info.bootID = first_line("/proc/sys/kernel/random/boot_id");
  info.kernelVersion = system.release;
  info.osImage = os_image();
  info.containerRuntimeVersion = "skiff://" + version.substr(version.starts_with("v") ? 1 : 0);
  info.kubeletVersion = version;
  info.operatingSystem = "linux";
  info.architecture = go_architecture(system.machine);
  return info;
}

api::Node make_node(const NodeDescription& description, const api::Node* old, api::Time now) {
  api::Node node;
  if (old != nullptr) node = *old;
  node.metadata.name = description.name;
  auto& labels = node.metadata.labels;
  labels["kubernetes.io/hostname"] = description.name;
  labels["kubernetes.io/os"] = labels["beta.kubernetes.io/os"] = description.info.operatingSystem;
  labels["kubernetes.io/arch"] = labels["beta.kubernetes.io/arch"] = description.info.architecture;
  for (const auto& [key, value] : description.labels) labels[key] = value;
  if (node.spec.podCIDR.empty() && !description.pod_cidrs.empty()) {
    node.spec.podCIDR = description.pod_cidrs.front();
    node.spec.podCIDRs = description.pod_cidrs;
  }
  node.status.capacity = description.capacity;
  node.status.allocatable = description.allocatable;
  node.status.nodeInfo = description.info;
  node.status.addresses.clear();
  for (const std::string& ip : description.ips) node.status.addresses.emplace_back("InternalIP", ip);
  node.status.addresses.emplace_back("Hostname", description.name);
  node.status.daemonEndpoints.kubeletEndpoint.Port = description.port;
  set_condition(node,
                description.pressure.memory
                    ? condition("MemoryPressure", "True", "KubeletHasInsufficientMemory",
                                "kubelet has insufficient memory available")
                    : condition("MemoryPressure", "False", "KubeletHasSufficientMemory",
                                "kubelet has sufficient memory available"),
                now);
  set_condition(
      node,
      description.pressure.disk
          ? condition("DiskPressure", "True", "KubeletHasDiskPressure", "kubelet has disk pressure")
          : condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
      now);
  set_condition(
      node,
      condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
      now);
  set_condition(node, condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"), now);
  return node;
}

Status NodeRegistration::write_node() {
  api::Time now = api::Time::from(clock_.wall_now());
  client::ObjectKey key{"", description_.name};
  Result<client::Ref<api::Node>> known = client_.get<api::Node>(key);
  if (!known.ok() && known.error().code() != Code::NotFound) return std::move(known).error();
  if (!known.ok()) {
    Result<client::Ref<api::Node>> created = client_.create(make_node(description_, nullptr, now));
    if (!created.ok() && created.error().code() != Code::AlreadyExists) return std::move(created).error();
  }
  // Labels and the range are the object's, the rest is its status: two writes, each only when something
  // differs.
  TRY(client_.update_with_retry<api::Node>(key, [&](api::Node& node) {
    api::Node next = make_node(description_, &node, now);
    bool differs = next.metadata.labels != node.metadata.labels || next.spec != node.spec;
    if (differs) node = std::move(next);
    return differs;
  }));
  TRY(client_.update_with_retry<api::Node>(
      key,
      [&](api::Node& node) {
        NodeDescription current = description_;
        current.pressure = pressure();
        node = make_node(current, &node, now);
        node.status.images = images_();
        return true;
      },
      true));
  return ok();
}

Status NodeRegistration::renew_lease() {
  client::ObjectKey key{"kube-node-lease", description_.name};
  auto fill = [&](api::Lease& lease) {
    lease.spec.holderIdentity = description_.name;
    lease.spec.leaseDurationSeconds = kLeaseSeconds;
    lease.spec.renewTime = api::MicroTime::from(clock_.wall_now());
    return true;
  };
  Result<client::Ref<api::Lease>> renewed = client_.update_with_retry<api::Lease>(key, fill);
  if (renewed.ok()) return ok();
  if (renewed.error().code() != Code::NotFound) return std::move(renewed).error();
  TRY_ASSIGN(client::Ref<api::Node> node, client_.get<api::Node>({"", description_.name}));
  api::Lease lease;
  lease.metadata.namespace_ = key.namespace_;
  lease.metadata.name = key.name;
  api::OwnerReference owner = client::controller_ref(*node);
  owner.controller.reset();
  owner.blockOwnerDeletion.reset();
  lease.metadata.ownerReferences = {owner};
  fill(lease);
  TRY(client_.create(std::move(lease)));
  return ok();
}

Status NodeRegistration::start(std::function<std::vector<api::ContainerImage>()> images) {
  images_ = std::move(images);
  TRY(write_node());
  if (Status renewed = renew_lease(); !renewed.ok())
    log::warning("kubelet", "lease of node {}: {}", description_.name, renewed.error().message());
  thread_ = std::jthread([this](std::stop_token stop) { run(stop); });
  return ok();
}

void NodeRegistration::set_pressure(const Pressure& pressure) {
  MutexLock lock(mutex_);
  pressure_ = pressure;
  pressure_changed_ = true;
  changed_.notify_all();
}

Pressure NodeRegistration::pressure() const {
  MutexLock lock(mutex_);
  return pressure_;
}

/// True when there is something new to tell before `due`.
bool NodeRegistration::wait_for_change(TimePoint due, std::stop_token stop) {
  MutexLock lock(mutex_);
  while (!pressure_changed_ && clock_.now() < due && !stop.stop_requested()) clock_.wait(mutex_, changed_, stop, due);
  return std::exchange(pressure_changed_, false);
}

void NodeRegistration::run(std::stop_token stop) {
  const int status_every = static_cast<int>(std::max<std::int64_t>(kStatusPeriod / description_.lease_period, 1));
  int period = 0;
  for (TimePoint due = clock_.now() + description_.lease_period; !stop.stop_requested();) {
    bool changed = wait_for_change(due, stop);
    if (stop.stop_requested()) return;
    Status status = changed ? ok() : renew_lease();
    if (!changed) {
      due = clock_.now() + description_.lease_period;
      ++period;
    }
    if (status.ok() && (changed || period % status_every == 0)) status = write_node();
    if (!status.ok()) log::warning("kubelet", "node {}: {}", description_.name, status.error().message());
  }
}

}  // namespace skiff::kubelet
