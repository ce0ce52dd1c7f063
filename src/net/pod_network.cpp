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

/// Beyond so many places in a range of IPv6 nobody looks.
constexpr std::uint64_t kMostPlaces = 1 << 20;

sys::Prefix single(Address address) { return sys::Prefix::single(address); }
Address gateway_of(const Cidr& range) { return range.at(1); }

Result<bool> has_address(sys::Netlink& netlink, int link, Address address) {
  TRY_ASSIGN(std::vector<sys::LinkAddress> all, netlink.addresses());
  return std::any_of(all.begin(), all.end(), [&](const sys::LinkAddress& entry) {
    return entry.link == link && entry.prefix.address == address;
  });
}

/// Neighbour and router discovery of IPv6 would wake an idle node for every pod: new links of the calling
/// thread's namespace get no link-local addresses.
Status keep_links_silent() {
  const std::string file = "/proc/sys/net/ipv6/conf/default/addr_gen_mode";
  return sys::exists(file) ? sys::write_file(file, "1") : ok();
}

/// Whether the pod's namespace has its eth0 with `address` already.
Result<bool> is_set_up(sys::Netlink& pod, Address address) {
  Result<sys::Link> eth0 = pod.link("eth0");
  if (!eth0.ok() && eth0.error().code() == Code::NotFound) return false;
  TRY(eth0);
  return has_address(pod, eth0.value().index, address);
}

Status set_up_inside(sys::Netlink& pod, const std::vector<Address>& addresses, const std::vector<Cidr>& ranges) {
  TRY_ASSIGN(sys::Link lo, pod.link("lo"));
  if (!lo.up) TRY(pod.set_up(lo.index));
  TRY_ASSIGN(sys::Link eth0, pod.link("eth0"));
  TRY(pod.set_up(eth0.index));
  for (size_t i = 0; i < ranges.size(); ++i) {
    TRY(pod.add_address({eth0.index, single(addresses[i])}));
    TRY(pod.replace_route({.destination = sys::Prefix::everything(ranges[i].family()),
                           .link = eth0.index,
                           .gateway = gateway_of(ranges[i])}));
  }
  return ok();
}

/// What a node passes on to a pod it announces from a link-local address; the pod's own packets come from its own.
Status add_gateways(sys::Netlink& node, int link, const std::vector<Cidr>& ranges) {
  for (const Cidr& range : ranges) {
    if (range.family() == Family::V6)
      TRY(node.add_address({link, {parse_address("fe80::1").value(), 64}}));
    TRY(node.add_address({link, single(gateway_of(range))}));
  }
  return ok();
}

Status allow_forwarding(const std::vector<Cidr>& ranges) {
  for (const Cidr& range : ranges)
    TRY(sys::write_file(range.family() == Family::V4 ? "/proc/sys/net/ipv4/ip_forward"
                                                     : "/proc/sys/net/ipv6/conf/all/forwarding",
                        "1"));
  return ok();
}

}  // namespace

PodNetwork::PodNetwork(std::unique_ptr<sys::Netlink> node, PodNetworkSpec spec)
    : spec_(spec), node_(std::move(node)) {}

PodNetwork::~PodNetwork() = default;

Result<std::unique_ptr<PodNetwork>> PodNetwork::open(const UniqueFd& node, const PodNetworkSpec& spec) {
  for (const Cidr& range : spec.pods)
    if (range.size() < 8) return error(Code::Invalid, "pod range {} is too small", range.str());
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(node));
  std::unique_ptr<PodNetwork> network(new PodNetwork(std::move(netlink), spec));
  TRY(network->prepare(node));
  TRY(network->find_attached());
  return network;
}

Status PodNetwork::prepare(const UniqueFd& node) {
  TRY(sys::in_network(node, keep_links_silent));
  TRY(sys::in_network(node, [&] { return allow_forwarding(spec_.pods); }));
  MutexLock lock(netlink_mutex_);
  TRY_ASSIGN(sys::Link lo, node_->link("lo"));
  if (!lo.up) TRY(node_->set_up(lo.index));
  // Packets for an address that no pod has would go back to the host, which sends them here again.
  for (const Cidr& range : spec_.pods)
    TRY(node_->replace_route(
        {.destination = {range.base, range.length}, .metric = kLastResort, .unreachable = true}));
  return ok();
}

Status PodNetwork::find_attached() {
  MutexLock lock(netlink_mutex_);
  TRY_ASSIGN(std::vector<sys::Link> links, node_->links());
  TRY_ASSIGN(std::vector<sys::Route> routes, node_->routes());
  for (const sys::Link& link : links) {
    if (!link.name.starts_with(kLinkPrefix)) continue;
    auto route = std::find_if(routes.begin(), routes.end(), [&](const sys::Route& candidate) {
      // For the gateway's address on the link the kernel made a route in IPv6.
      return candidate.link == link.index && spec_.pods.back().contains(candidate.destination.address) &&
             candidate.destination.address != gateway_of(spec_.pods.back());
    });
    // The route of the last family is made last: a link without one is from an attach that was cut off.
    if (route == routes.end() || link.alias.empty()) {
      TRY(node_->remove_link(link.name));
      continue;
    }
    MutexLock state_lock(mutex_);
    auto place = static_cast<std::uint64_t>(route->destination.address.value - spec_.pods.back().base.value);
    attached_[link.alias] = place;
    cursor_ = std::max(cursor_, place);
  }
  return ok();
}

std::vector<Address> PodNetwork::addresses_at(std::uint64_t place) const {
  std::vector<Address> addresses;
  for (const Cidr& range : spec_.pods) addresses.push_back(range.at(place));
  return addresses;
}

Result<std::uint64_t> PodNetwork::reserve(const std::string& pod_id) {
  MutexLock lock(mutex_);
  auto known = attached_.find(pod_id);
  if (known != attached_.end()) return known->second;
  std::set<std::uint64_t> used;
  for (const auto& [id, place] : attached_) used.insert(place);
  std::uint64_t size = kMostPlaces;
  for (const Cidr& range : spec_.pods) size = std::min(size, range.size());
  // Neither the first (the network), the second (the gateway) nor the last (broadcast) address.
  std::uint64_t count = size - 3;
  for (std::uint64_t tried = 0; tried < count; ++tried) {
    cursor_ = cursor_ > count ? 2 : cursor_ + 1;
    if (used.contains(cursor_)) continue;
    attached_[pod_id] = cursor_;
    return cursor_;
  }
  return error(Code::TooManyRequests, "no free address in pod range {}", spec_.pods.front().str());
}

Result<std::vector<Address>> PodNetwork::attach(const std::string& pod_id, const UniqueFd& pod) {
  TRY_ASSIGN(std::uint64_t place, reserve(pod_id));
  if (Status connected = connect(pod_id, pod, place); !connected.ok()) {
    (void)remove(pod_id);  // the first error is the one that tells
    return std::move(connected).error().in(fmt::format("attach pod '{}'", pod_id));
  }
  return addresses_at(place);
}

Status PodNetwork::connect(const std::string& pod_id, const UniqueFd& pod, std::uint64_t place) {
  std::vector<Address> addresses = addresses_at(place);
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> inside, sys::Netlink::open(pod));
  TRY_ASSIGN(bool done, is_set_up(*inside, addresses.back()));
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
  TRY(add_gateways(*node_, outside.index, spec_.pods));
  if (!done) TRY(set_up_inside(*inside, addresses, spec_.pods));
  for (Address address : addresses)
    TRY(node_->replace_route({.destination = single(address), .link = outside.index}));
  return ok();
}

Status PodNetwork::detach(const std::string& pod_id) {
  Result<std::vector<Address>> addresses = addresses_of(pod_id);
  if (!addresses.ok()) return ok();
  {
    // Removing a link costs the kernel some twenty milliseconds during which no other can be made. The pod's
    // goes with its namespace anyway, many at a time and in the background.
    MutexLock lock(netlink_mutex_);
    for (Address address : addresses.value()) TRY(node_->remove_route({.destination = single(address)}));
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

Result<std::vector<Address>> PodNetwork::addresses_of(const std::string& pod_id) const {
  MutexLock lock(mutex_);
  auto found = attached_.find(pod_id);
  if (found == attached_.end()) return error(Code::NotFound, "pod '{}' is not attached", pod_id);
  return addresses_at(found->second);
}

std::set<std::string> PodNetwork::attached() const {
  MutexLock lock(mutex_);
  std::set<std::string> ids;
  for (const auto& [pod_id, place] : attached_) ids.insert(pod_id);
  return ids;
}

Status PodNetwork::sweep(const std::set<std::string>& live) {
  for (const std::string& pod_id : attached())
    if (!live.contains(pod_id)) TRY(remove(pod_id));
  return ok();
}

}  // namespace skiff::net
