#include "net/pod_network.hpp"

#include <algorithm>

#include "sys/files.hpp"
#include "sys/namespaces.hpp"
#include "sys/netlink.hpp"

namespace skiff::net {
namespace {

constexpr std::string_view kLinkPrefix = "pod";
constexpr std::uint32_t kLastResort = 4'000'000'000;  // a metric that every other route beats

/// The node's end of a pod's veth: at most 15 characters, the same for the same pod. The pod's id itself is
/// the link's alias.
std::string link_name(const std::string& pod_id) {
  std::uint64_t hash = 14695981039346656037U;  // FNV-1a
  for (char c : pod_id) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return fmt::format("{}{:012x}", kLinkPrefix, hash >> 16);
}

sys::Prefix single(Ipv4 address) { return {address.value, 32}; }

Result<bool> has_address(sys::Netlink& netlink, int link, Ipv4 address) {
  TRY_ASSIGN(std::vector<sys::LinkAddress> all, netlink.addresses());
  return std::any_of(all.begin(), all.end(), [&](const sys::LinkAddress& entry) {
    return entry.link == link && entry.prefix.address == address.value;
  });
}

/// Neighbour and router discovery of IPv6 would wake an idle node for every pod: new links of the calling
/// thread's namespace get no link-local addresses.
Status keep_links_silent() {
  const std::string file = "/proc/sys/net/ipv6/conf/default/addr_gen_mode";
  return sys::exists(file) ? sys::write_file(file, "1") : ok();
}

/// Whether the pod's namespace has its eth0 with `address` already.
Result<bool> is_set_up(sys::Netlink& pod, Ipv4 address) {
  Result<sys::Link> eth0 = pod.link("eth0");
  if (!eth0.ok() && eth0.error().code() == Code::NotFound) return false;
  TRY(eth0);
  return has_address(pod, eth0.value().index, address);
}

Status set_up_inside(sys::Netlink& pod, Ipv4 address, Ipv4 gateway) {
  TRY_ASSIGN(sys::Link lo, pod.link("lo"));
  if (!lo.up) TRY(pod.set_up(lo.index));
  TRY_ASSIGN(sys::Link eth0, pod.link("eth0"));
  TRY(pod.set_up(eth0.index));
  TRY(pod.add_address({eth0.index, single(address)}));
  return pod.replace_route({.destination = {0, 0}, .link = eth0.index, .gateway = gateway.value});
}

}  // namespace

PodNetwork::PodNetwork(std::unique_ptr<sys::Netlink> node, PodNetworkSpec spec)
    : spec_(spec), node_(std::move(node)) {}

PodNetwork::~PodNetwork() = default;

Result<std::unique_ptr<PodNetwork>> PodNetwork::open(const UniqueFd& node, const PodNetworkSpec& spec) {
  if (spec.pods.size() < 8) return error(Code::Invalid, "pod range {} is too small", spec.pods.str());
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(node));
  std::unique_ptr<PodNetwork> network(new PodNetwork(std::move(netlink), spec));
  TRY(network->prepare(node));
  TRY(network->find_attached());
  return network;
}

Status PodNetwork::prepare(const UniqueFd& node) {
  TRY(sys::in_network(node, keep_links_silent));
  TRY(sys::in_network(node, [] { return sys::write_file("/proc/sys/net/ipv4/ip_forward", "1"); }));
  MutexLock lock(netlink_mutex_);
  TRY_ASSIGN(sys::Link lo, node_->link("lo"));
  if (!lo.up) TRY(node_->set_up(lo.index));
  // Packets for an address that no pod has would go back to the host, which sends them here again.
  sys::Prefix range{spec_.pods.base.value, spec_.pods.length};
  return node_->replace_route({.destination = range, .metric = kLastResort, .unreachable = true});
}

Status PodNetwork::find_attached() {
  MutexLock lock(netlink_mutex_);
  TRY_ASSIGN(std::vector<sys::Link> links, node_->links());
  TRY_ASSIGN(std::vector<sys::Route> routes, node_->routes());
  for (const sys::Link& link : links) {
    if (!link.name.starts_with(kLinkPrefix)) continue;
    auto route = std::find_if(routes.begin(), routes.end(), [&](const sys::Route& candidate) {
      return candidate.link == link.index && candidate.destination.length == 32;
    });
    // The route is made last: a link without one is from an attach that was cut off.
    if (route == routes.end() || link.alias.empty()) {
      TRY(node_->remove_link(link.name));
      continue;
    }
    MutexLock state_lock(mutex_);
    attached_[link.alias] = {route->destination.address};
    cursor_ = std::max(cursor_, route->destination.address - spec_.pods.base.value);
  }
  return ok();
}

Result<Ipv4> PodNetwork::reserve(const std::string& pod_id) {
  MutexLock lock(mutex_);
  auto known = attached_.find(pod_id);
  if (known != attached_.end()) return known->second;
  std::set<Ipv4> used;
  for (const auto& [id, address] : attached_) used.insert(address);
  // Neither the first (the network), the second (the gateway) nor the last (broadcast) address.
  std::uint32_t count = static_cast<std::uint32_t>(spec_.pods.size()) - 3;
  for (std::uint32_t tried = 0; tried < count; ++tried) {
    cursor_ = cursor_ > count ? 2 : cursor_ + 1;
    Ipv4 address = spec_.pods.at(cursor_);
    if (used.contains(address)) continue;
    attached_[pod_id] = address;
    return address;
  }
  return error(Code::TooManyRequests, "no free address in pod range {}", spec_.pods.str());
}

Result<Ipv4> PodNetwork::attach(const std::string& pod_id, const UniqueFd& pod) {
  TRY_ASSIGN(Ipv4 address, reserve(pod_id));
  if (Status connected = connect(pod_id, pod, address); !connected.ok()) {
    (void)remove(pod_id);  // the first error is the one that tells
    return std::move(connected).error().in(fmt::format("attach pod '{}'", pod_id));
  }
  return address;
}

Status PodNetwork::connect(const std::string& pod_id, const UniqueFd& pod, Ipv4 address) {
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> inside, sys::Netlink::open(pod));
  TRY_ASSIGN(bool done, is_set_up(*inside, address));
  std::string name = link_name(pod_id);
  MutexLock lock(netlink_mutex_);
  if (!done) {
    TRY(sys::in_network(pod, keep_links_silent));
    TRY(node_->remove_link(name));  // of an earlier sandbox of the pod
    TRY(node_->add_veth({name, pod_id, "eth0", pod, spec_.mtu}));
  }
  TRY_ASSIGN(sys::Link outside, node_->link(name));
  // The gateway's address on the link makes the node answer the pod's ARP, and is what masqueraded packets
  // to this pod come from.
  TRY(node_->add_address({outside.index, single(gateway())}));
  if (!done) TRY(set_up_inside(*inside, address, gateway()));
  return node_->replace_route({.destination = single(address), .link = outside.index});
}

Status PodNetwork::detach(const std::string& pod_id) {
  Result<Ipv4> address = address_of(pod_id);
  if (!address.ok()) return ok();
  {
    // Removing a link costs the kernel some twenty milliseconds during which no other can be made. The pod's
    // goes with its namespace anyway, many at a time and in the background.
    MutexLock lock(netlink_mutex_);
    TRY(node_->remove_route({.destination = single(address.value())}));
  }
  MutexLock lock(mutex_);
  attached_.erase(pod_id);
  return ok();
}

Status PodNetwork::remove(const std::string& pod_id) {
  {
    MutexLock lock(netlink_mutex_);
    TRY(node_->remove_link(link_name(pod_id)));
  }
  MutexLock lock(mutex_);
  attached_.erase(pod_id);
  return ok();
}

Result<Ipv4> PodNetwork::address_of(const std::string& pod_id) const {
  MutexLock lock(mutex_);
  auto found = attached_.find(pod_id);
  if (found == attached_.end()) return error(Code::NotFound, "pod '{}' is not attached", pod_id);
  return found->second;
}

std::map<std::string, Ipv4> PodNetwork::attached() const {
  MutexLock lock(mutex_);
  return attached_;
}

Status PodNetwork::sweep(const std::set<std::string>& live) {
  for (const auto& [pod_id, address] : attached())
    if (!live.contains(pod_id)) TRY(remove(pod_id));
  return ok();
}

}  // namespace skiff::net
