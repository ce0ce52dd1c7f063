// The host's nft table: masquerades what leaves the cluster for the outside, and keeps the outside from
// reaching in. What had to be switched on the host for it stands in the table's comment, so that remove() can
// undo it whoever started the cluster.
#include <algorithm>
#include <sstream>

#include "net/host_network.hpp"
#include "sys/files.hpp"
#include "sys/namespaces.hpp"
#include "sys/netlink.hpp"
#include "sys/nftables.hpp"

namespace skiff::net {
namespace {

constexpr std::string_view kTablePrefix = "skiff_";
constexpr std::string_view kForwardingNote = "forwarding:";

std::string_view nft_family(Family family) { return family == Family::V4 ? "ip" : "ip6"; }

/// The interface of the host's default route; empty without one.
Result<std::string> default_interface(const UniqueFd& host, Family family) {
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(host));
  TRY_ASSIGN(std::vector<sys::Route> routes, netlink->routes());
  TRY_ASSIGN(std::vector<sys::Link> links, netlink->links());
  for (const sys::Route& route : routes)
    for (const sys::Link& link : links)
      if (route.destination.length == 0 && route.destination.address.family == family && !route.unreachable &&
          route.link == link.index)
        return link.name;
  return std::string();
}

std::string forwarding_file(Family family, const std::string& interface) {
  return fmt::format("/proc/sys/net/{}", family == Family::V4
                                             ? fmt::format("ipv4/conf/{}/forwarding", interface)
                                             : fmt::format("ipv6/conf/{}/force_forwarding", interface));
}

/// The names of all clusters' tables.
Result<std::vector<std::string>> egress_tables(const UniqueFd& host, Family family) {
  TRY_ASSIGN(std::string listed, sys::run_nft(host, fmt::format("list tables {}", nft_family(family))));
  std::vector<std::string> names;
  std::istringstream lines(listed);
  for (std::string table, of_family, name; lines >> table >> of_family >> name;)
    if (name.starts_with(kTablePrefix)) names.push_back(name);
  return names;
}

/// The interface whose forwarding a table's maker switched on; empty when none.
Result<std::string> switched_interface(const UniqueFd& host, Family family, const std::string& table) {
  TRY_ASSIGN(std::string listed, sys::run_nft(host, fmt::format("list table {} {}", nft_family(family), table)));
  size_t at = listed.find(kForwardingNote);
  if (at == std::string::npos) return std::string();
  at += kForwardingNote.size();
  return listed.substr(at, listed.find('"', at) - at);
}

std::string table_text(const std::string& table, const std::string& cluster, const ClusterRanges& ranges,
                       const std::string& switched) {
  std::string note = switched.empty() ? "" : fmt::format("comment \"{}{}\"", kForwardingNote, switched);
  // Where forwarding was off before us, the host must not become a router for its other neighbours.
  std::string guard = switched.empty() ? "" : fmt::format("iifname \"{}\" drop", switched);
  return fmt::format(R"(add table {6} {0}
delete table {6} {0}
table {6} {0} {{
  {1}
  chain egress {{
    type nat hook postrouting priority srcnat; policy accept;
    {6} saddr {{ {3}, {4} }} oifname != "sk{2}-*" masquerade
  }}
  chain ingress {{
    type filter hook forward priority filter; policy accept;
    ct state established,related accept
    iifname "sk{2}-*" accept
    oifname "sk{2}-*" drop
    {5}
  }}
}}
)",
                     table, note, cluster, ranges.pods.str(), ranges.nodes.str(), guard,
                     nft_family(ranges.pods.family()));
}

/// Where a kernel has no switch a link (IPv6 before Linux 6.17), the host's is its owner's.
Result<bool> forwards_already(const UniqueFd& host, Family family, const std::string& interface) {
  return sys::in_network(host, [&]() -> Result<bool> {
    std::string file = forwarding_file(family, interface);
    if (!sys::exists(file)) return true;
    TRY_ASSIGN(std::string text, sys::read_file(file));
    if (!text.starts_with('0') || family == Family::V4) return !text.starts_with('0');
    Result<std::string> whole = sys::read_file("/proc/sys/net/ipv6/conf/all/forwarding");
    return whole.ok() && !whole.value().starts_with('0');
  });
}

}  // namespace

std::string HostNetwork::table_name() const { return fmt::format("{}{}", kTablePrefix, spec_.cluster); }

Status HostNetwork::ensure_egress(const ClusterRanges& ranges) {
  Family family = ranges.pods.family();
  TRY_ASSIGN(std::string interface, default_interface(host_, family));
  if (interface.empty()) return remove_egress(family);
  TRY_ASSIGN(std::vector<std::string> tables, egress_tables(host_, family));
  std::string switched;
  for (const std::string& table : tables) {
    TRY_ASSIGN(std::string by_table, switched_interface(host_, family, table));
    if (!by_table.empty()) switched = by_table;
  }
  TRY_ASSIGN(bool forwards, forwards_already(host_, family, interface));
  if (!forwards) switched = interface;
  TRY(step());
  TRY(sys::run_nft(host_, table_text(table_name(), spec_.cluster, ranges, switched)));  // the note first, then the switch
  if (switched.empty()) return ok();
  TRY(step());
  return sys::in_network(host_, [&] { return sys::write_file(forwarding_file(family, switched), "1"); });
}

Status HostNetwork::remove_egress(Family family) {
  TRY_ASSIGN(std::vector<std::string> tables, egress_tables(host_, family));
  if (std::find(tables.begin(), tables.end(), table_name()) == tables.end()) return ok();
  TRY_ASSIGN(std::string switched, switched_interface(host_, family, table_name()));
  TRY(step());
  // The last cluster switches off what the first one switched on.
  if (!switched.empty() && tables.size() == 1)
    TRY(sys::in_network(host_, [&] {
      std::string file = forwarding_file(family, switched);
      return sys::exists(file) ? sys::write_file(file, "0") : ok();
    }));
  TRY(step());
  TRY(sys::run_nft(host_, fmt::format("delete table {} {}", nft_family(family), table_name())));
  return ok();
}

}  // namespace skiff::net
