#include "net/host_network.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "sys/files.hpp"
#include "sys/namespaces.hpp"
#include "sys/netlink.hpp"

namespace skiff::net {
namespace {

// Any route the host has is better than these; they only catch what would leave by the default route
// otherwise.
constexpr std::uint32_t kLastResort = 4'000'000'000;
constexpr std::string_view kUplink = "sk-host";

sys::Prefix single(Address address) { return sys::Prefix::single(address); }
sys::Prefix prefix(const Cidr& cidr) { return {cidr.base, cidr.length}; }
Cidr cidr(const sys::Prefix& prefix) { return {prefix.address, prefix.length}; }

std::string name_of(const std::vector<sys::Link>& links, int index) {
  for (const sys::Link& link : links)
    if (link.index == index) return link.name;
  return std::to_string(index);
}

std::vector<sys::Route> unreachable_routes(const std::vector<ClusterRanges>& families) {
  std::vector<sys::Route> routes;
  for (const ClusterRanges& ranges : families)
    for (const Cidr& range : {ranges.pods, ranges.services, ranges.nodes})
      routes.push_back({.destination = prefix(range), .metric = kLastResort, .unreachable = true});
  return routes;
}

/// The host's address or a node's of one family.
Address address_in(const ClusterRanges& ranges, int index) {
  return ranges.nodes.at(static_cast<std::uint64_t>(index + 2));
}

/// Neighbours of IPv6 ask for each other from link-local addresses, also on behalf of what they pass on.
constexpr std::string_view kHostSide = "fe80::1", kNodeSide = "fe80::2";
Status add_link_local(sys::Netlink& netlink, int link, std::string_view address) {
  return netlink.add_address({link, {parse_address(address).value(), 64}});
}

/// Switches of our own link, in the calling thread's namespace: only it forwards, the switch of the whole host stays
/// as it is. For IPv6 Linux has one a link since 6.17; before, only the host's owner can have packets forwarded.
Status open_link(const std::string& name, const std::vector<ClusterRanges>& families) {
  for (const ClusterRanges& ranges : families) {
    if (ranges.pods.family() == Family::V4) {
      TRY(sys::write_file(fmt::format("/proc/sys/net/ipv4/conf/{}/forwarding", name), "1"));
      continue;
    }
    std::string directory = fmt::format("/proc/sys/net/ipv6/conf/{}/", name);
    TRY(sys::write_file(directory + "disable_ipv6", "0"));
    if (sys::exists(directory + "force_forwarding"))
      TRY(sys::write_file(directory + "force_forwarding", "1"));
    else
      log::warning("host-network", "IPv6 between nodes and to the outside needs Linux 6.17 or net.ipv6.conf.all.forwarding=1");
  }
  return ok();
}

}  // namespace

Result<std::unique_ptr<HostNetwork>> HostNetwork::open(UniqueFd host, HostNetworkSpec spec) {
  auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (spec.cluster.empty() || spec.cluster.size() > 8 ||
      !std::all_of(spec.cluster.begin(), spec.cluster.end(), allowed))
    return error(Code::Invalid, "'{}' cannot name network links: 1 to 8 of a-z and 0-9", spec.cluster);
  return std::unique_ptr<HostNetwork>(new HostNetwork(std::move(host), std::move(spec)));
}

Status HostNetwork::step() const {
  return spec_.TEST_killed && spec_.TEST_killed() ? Status(Error(Code::Canceled, "killed")) : ok();
}

std::string HostNetwork::link_name(int index) const { return fmt::format("sk{}-{}", spec_.cluster, index); }

std::vector<Address> HostNetwork::node_addresses(int index) const {
  std::vector<Address> addresses;
  for (const ClusterRanges& ranges : spec_.ranges) addresses.push_back(address_in(ranges, index));
  return addresses;
}

Status HostNetwork::ensure() {
  MutexLock lock(mutex_);
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(host_));
  for (const sys::Route& route : unreachable_routes(spec_.ranges)) {
    TRY(step());
    TRY(netlink->replace_route(route));
  }
  for (const ClusterRanges& ranges : spec_.ranges) TRY(ensure_egress(ranges));
  return ok();
}

Status HostNetwork::ensure_node(const NodeLink& node) {
  MutexLock lock(mutex_);
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> outside, sys::Netlink::open(host_));
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> inside, sys::Netlink::open(node.network));
  std::string name = link_name(node.index);
  Result<sys::Link> uplink = inside->link(std::string(kUplink));
  if (!uplink.ok() && uplink.error().code() != Code::NotFound) return std::move(uplink).error();
  if (!uplink.ok()) {
    TRY(step());
    TRY(outside->remove_link(name));  // its other end is in a namespace that is going away
    TRY(step());
    TRY(outside->add_veth({name, "", std::string(kUplink), node.network, node.mtu}));
  }
  TRY(configure_host_side(node));
  return configure_node_side(node);
}

Status HostNetwork::configure_host_side(const NodeLink& node) {
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(host_));
  std::string name = link_name(node.index);
  TRY_ASSIGN(sys::Link link, netlink->link(name));
  TRY(step());
  TRY(sys::in_network(host_, [&] { return open_link(name, spec_.ranges); }));
  return add_host_routes(*netlink, node, link.index);
}

Status HostNetwork::add_host_routes(sys::Netlink& netlink, const NodeLink& node, int link) {
  for (size_t i = 0; i < spec_.ranges.size(); ++i) {
    const ClusterRanges& family = spec_.ranges[i];
    Address host = address_in(family, -1), address = address_in(family, node.index);
    if (host.is_v6()) TRY(add_link_local(netlink, link, kHostSide));
    TRY(step());
    TRY(netlink.add_address({link, single(host)}));
    TRY(step());
    TRY(netlink.replace_route({.destination = single(address), .link = link, .source = host}));
    std::vector<Cidr> ranges{node.pods[i]};
    if (node.index == entry_) ranges.insert(ranges.end(), {family.services, family.balancers()});
    for (const Cidr& range : ranges) {
      TRY(step());
      TRY(netlink.replace_route(
          {.destination = prefix(range), .link = link, .gateway = address, .source = host}));
    }
  }
  return ok();
}

Status HostNetwork::configure_node_side(const NodeLink& node) {
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(node.network));
  TRY_ASSIGN(sys::Link lo, netlink->link("lo"));
  if (!lo.up) TRY(netlink->set_up(lo.index));
  TRY_ASSIGN(sys::Link link, netlink->link(std::string(kUplink)));
  TRY(step());
  TRY(netlink->set_up(link.index));
  for (const ClusterRanges& family : spec_.ranges) {
    Address host = address_in(family, -1);
    if (host.is_v6()) TRY(add_link_local(*netlink, link.index, kNodeSide));
    TRY(step());
    TRY(netlink->add_address({link.index, single(address_in(family, node.index))}));
    TRY(step());
    TRY(netlink->replace_route(
        {.destination = sys::Prefix::everything(host.family), .link = link.index, .gateway = host}));
  }
  return ok();
}

Status HostNetwork::remove_node(int index) {
  MutexLock lock(mutex_);
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(host_));
  return netlink->remove_link(link_name(index));  // its routes and addresses go with it
}

Status HostNetwork::set_entry(int index) {
  MutexLock lock(mutex_);
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(host_));
  TRY_ASSIGN(sys::Link link, netlink->link(link_name(index)));
  entry_ = index;
  for (const ClusterRanges& family : spec_.ranges)
    for (const Cidr& range : {family.services, family.balancers()})
      TRY(netlink->replace_route({.destination = prefix(range),
                                  .link = link.index,
                                  .gateway = address_in(family, index),
                                  .source = address_in(family, -1)}));
  return ok();
}

const ClusterRanges* HostNetwork::family_of(Address address) const {
  for (const ClusterRanges& family : spec_.ranges)
    if (family.pods.family() == address.family) return &family;
  return nullptr;
}

Status HostNetwork::set_paths(const std::map<Address, Address>& paths) {
  MutexLock lock(mutex_);
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(host_));
  TRY_ASSIGN(std::vector<sys::Route> routes, netlink->routes());
  for (const sys::Route& route : routes) {
    Address address = route.destination.address;
    const ClusterRanges* family = family_of(address);
    bool single_path = family != nullptr && cidr(route.destination).single() && family->balancers().contains(address);
    if (single_path && !paths.contains(address)) TRY(netlink->remove_route(route));
  }
  for (const auto& [address, node] : paths) {
    const ClusterRanges* family = family_of(address);
    if (family == nullptr || node.family != address.family) continue;
    auto index = static_cast<int>(node.value - address_in(*family, 0).value);
    TRY_ASSIGN(sys::Link link, netlink->link(link_name(index)));
    TRY(netlink->replace_route({.destination = single(address),
                                .link = link.index,
                                .gateway = node,
                                .source = address_in(*family, -1)}));
  }
  return ok();
}

Status HostNetwork::remove() {
  MutexLock lock(mutex_);
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(host_));
  TRY_ASSIGN(std::vector<sys::Link> links, netlink->links());
  std::string ours = fmt::format("sk{}-", spec_.cluster);
  for (const sys::Link& link : links)
    if (link.name.starts_with(ours)) {
      TRY(step());
      TRY(netlink->remove_link(link.name));
    }
  for (const sys::Route& route : unreachable_routes(spec_.ranges)) {
    TRY(step());
    TRY(netlink->remove_route(route));
  }
  for (const ClusterRanges& ranges : spec_.ranges) TRY(remove_egress(ranges.pods.family()));
  return ok();
}

Result<std::optional<RangeCollision>> find_collision(const UniqueFd& host, const std::vector<Cidr>& wanted) {
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(host));
  TRY_ASSIGN(std::vector<sys::Link> links, netlink->links());
  TRY_ASSIGN(std::vector<sys::LinkAddress> addresses, netlink->addresses());
  TRY_ASSIGN(std::vector<sys::Route> routes, netlink->routes());
  for (const Cidr& range : wanted) {
    for (const sys::LinkAddress& entry : addresses) {
      Cidr taken = cidr(entry.prefix);
      Cidr subnet{{taken.base.family, taken.base.value & taken.mask()}, taken.length};
      if (!range.overlaps(subnet)) continue;
      return std::optional(
          RangeCollision{range, fmt::format("address {} dev {}", taken.str(), name_of(links, entry.link))});
    }
    for (const sys::Route& route : routes) {
      if (route.destination.length == 0 || !range.overlaps(cidr(route.destination))) continue;
      std::string kind = route.unreachable ? "unreachable route" : "route";
      std::string by = route.link == 0 ? "" : " dev " + name_of(links, route.link);
      return std::optional(
          RangeCollision{range, fmt::format("{} {}{}", kind, cidr(route.destination).str(), by)});
    }
  }
  return std::optional<RangeCollision>();
}

}  // namespace skiff::net
