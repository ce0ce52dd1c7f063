#include "net/host_network.hpp"

#include <algorithm>

#include "sys/files.hpp"
#include "sys/namespaces.hpp"
#include "sys/netlink.hpp"

namespace skiff::net {
namespace {

// Any route the host has is better than these; they only catch what would leave by the default route
// otherwise.
constexpr std::uint32_t kLastResort = 4'000'000'000;
constexpr std::string_view kUplink = "sk-host";

sys::Prefix single(Ipv4 address) { return {address.value, 32}; }
sys::Prefix prefix(const Cidr& cidr) { return {cidr.base.value, cidr.length}; }
Cidr cidr(const sys::Prefix& prefix) { return {{prefix.address}, prefix.length}; }

std::string name_of(const std::vector<sys::Link>& links, int index) {
  for (const sys::Link& link : links)
    if (link.index == index) return link.name;
  return std::to_string(index);
}

std::vector<sys::Route> unreachable_routes(const ClusterRanges& ranges) {
  std::vector<sys::Route> routes;
  for (const Cidr& range : {ranges.pods, ranges.services, ranges.nodes})
    routes.push_back({.destination = prefix(range), .metric = kLastResort, .unreachable = true});
  return routes;
}

}  // namespace

Result<std::unique_ptr<HostNetwork>> HostNetwork::open(UniqueFd host, HostNetworkSpec spec) {
  auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (spec.cluster.empty() || spec.cluster.size() > 8 ||
      !std::all_of(spec.cluster.begin(), spec.cluster.end(), allowed))
    return error(Code::Invalid, "'{}' cannot name network links: 1 to 8 of a-z and 0-9", spec.cluster);
  return std::unique_ptr<HostNetwork>(new HostNetwork(std::move(host), std::move(spec)));
}

std::string HostNetwork::link_name(int index) const { return fmt::format("sk{}-{}", spec_.cluster, index); }

Status HostNetwork::ensure() {
  MutexLock lock(mutex_);
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(host_));
  for (const sys::Route& route : unreachable_routes(spec_.ranges)) TRY(netlink->replace_route(route));
  return ensure_egress();
}

Status HostNetwork::ensure_node(const NodeLink& node) {
  MutexLock lock(mutex_);
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> outside, sys::Netlink::open(host_));
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> inside, sys::Netlink::open(node.network));
  std::string name = link_name(node.index);
  Result<sys::Link> uplink = inside->link(std::string(kUplink));
  if (!uplink.ok() && uplink.error().code() != Code::NotFound) return std::move(uplink).error();
  if (!uplink.ok()) {
    TRY(outside->remove_link(name));  // its other end is in a namespace that is going away
    TRY(outside->add_veth({name, "", std::string(kUplink), node.network, node.mtu}));
  }
  TRY(configure_host_side(node));
  return configure_node_side(node);
}

Status HostNetwork::configure_host_side(const NodeLink& node) {
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(host_));
  std::string name = link_name(node.index);
  TRY_ASSIGN(sys::Link link, netlink->link(name));
  TRY(netlink->add_address({link.index, single(host_address())}));
  Ipv4 address = node_address(node.index);
  TRY(netlink->replace_route(
      {.destination = single(address), .link = link.index, .source = host_address().value}));
  std::vector<Cidr> ranges{node.pods};
  if (node.index == 0) ranges.insert(ranges.end(), {spec_.ranges.services, spec_.ranges.balancers()});
  for (const Cidr& range : ranges)
    TRY(netlink->replace_route({.destination = prefix(range),
                                .link = link.index,
                                .gateway = address.value,
                                .source = host_address().value}));
  // Only our own link forwards (from node to node); the switch of the whole host stays as it is.
  std::string forwarding = fmt::format("/proc/sys/net/ipv4/conf/{}/forwarding", name);
  return sys::in_network(host_, [&] { return sys::write_file(forwarding, "1"); });
}

Status HostNetwork::configure_node_side(const NodeLink& node) {
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(node.network));
  TRY_ASSIGN(sys::Link lo, netlink->link("lo"));
  if (!lo.up) TRY(netlink->set_up(lo.index));
  TRY_ASSIGN(sys::Link link, netlink->link(std::string(kUplink)));
  TRY(netlink->set_up(link.index));
  TRY(netlink->add_address({link.index, single(node_address(node.index))}));
  return netlink->replace_route({.destination = {0, 0}, .link = link.index, .gateway = host_address().value});
}

Status HostNetwork::remove_node(int index) {
  MutexLock lock(mutex_);
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(host_));
  return netlink->remove_link(link_name(index));  // its routes and addresses go with it
}

Status HostNetwork::set_paths(const std::map<Ipv4, Ipv4>& paths) {
  MutexLock lock(mutex_);
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(host_));
  TRY_ASSIGN(std::vector<sys::Route> routes, netlink->routes());
  for (const sys::Route& route : routes) {
    Ipv4 address{route.destination.address};
    bool single_path = route.destination.length == 32 && spec_.ranges.balancers().contains(address);
    if (single_path && !paths.contains(address)) TRY(netlink->remove_route(route));
  }
  for (const auto& [address, node] : paths) {
    auto index = static_cast<int>(node.value - node_address(0).value);
    TRY_ASSIGN(sys::Link link, netlink->link(link_name(index)));
    TRY(netlink->replace_route({.destination = single(address),
                                .link = link.index,
                                .gateway = node.value,
                                .source = host_address().value}));
  }
  return ok();
}

Status HostNetwork::remove() {
  MutexLock lock(mutex_);
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(host_));
  TRY_ASSIGN(std::vector<sys::Link> links, netlink->links());
  std::string ours = fmt::format("sk{}-", spec_.cluster);
  for (const sys::Link& link : links)
    if (link.name.starts_with(ours)) TRY(netlink->remove_link(link.name));
  for (const sys::Route& route : unreachable_routes(spec_.ranges)) TRY(netlink->remove_route(route));
  return remove_egress();
}

Result<std::optional<RangeCollision>> find_collision(const UniqueFd& host, const std::vector<Cidr>& wanted) {
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(host));
  TRY_ASSIGN(std::vector<sys::Link> links, netlink->links());
  TRY_ASSIGN(std::vector<sys::LinkAddress> addresses, netlink->addresses());
  TRY_ASSIGN(std::vector<sys::Route> routes, netlink->routes());
  for (const Cidr& range : wanted) {
    for (const sys::LinkAddress& entry : addresses) {
      Cidr taken{{entry.prefix.address}, entry.prefix.length};
      Cidr subnet{{taken.base.value & taken.mask()}, taken.length};
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
