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

/// The interface of the host's default route; empty without one.
Result<std::string> default_interface(const UniqueFd& host) {
  TRY_ASSIGN(std::unique_ptr<sys::Netlink> netlink, sys::Netlink::open(host));
  TRY_ASSIGN(std::vector<sys::Route> routes, netlink->routes());
  TRY_ASSIGN(std::vector<sys::Link> links, netlink->links());
  for (const sys::Route& route : routes)
    for (const sys::Link& link : links)
      if (route.destination.length == 0 && !route.unreachable && route.link == link.index) return link.name;
  return std::string();
}

std::string forwarding_file(const std::string& interface) {
  return fmt::format("/proc/sys/net/ipv4/conf/{}/forwarding", interface);
}

/// The names of all clusters' tables.
Result<std::vector<std::string>> egress_tables(const UniqueFd& host) {
  TRY_ASSIGN(std::string listed, sys::run_nft(host, "list tables ip"));
  std::vector<std::string> names;
  std::istringstream lines(listed);
  for (std::string table, family, name; lines >> table >> family >> name;)
    if (name.starts_with(kTablePrefix)) names.push_back(name);
  return names;
}

/// The interface whose forwarding a table's maker switched on; empty when none.
Result<std::string> switched_interface(const UniqueFd& host, const std::string& table) {
  TRY_ASSIGN(std::string listed, sys::run_nft(host, fmt::format("list table ip {}", table)));
  size_t at = listed.find(kForwardingNote);
  if (at == std::string::npos) return std::string();
  at += kForwardingNote.size();
  return listed.substr(at, listed.find('"', at) - at);
}

std::string table_text(const std::string& table, const HostNetworkSpec& spec, const std::string& switched) {
  std::string note = switched.empty() ? "" : fmt::format("comment \"{}{}\"", kForwardingNote, switched);
  // Where forwarding was off before us, the host must not become a router for its other neighbours.
  std::string guard = switched.empty() ? "" : fmt::format("iifname \"{}\" drop", switched);
  return fmt::format(R"(add table ip {0}
delete table ip {0}
table ip {0} {{
  {1}
  chain egress {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {{ {3}, {4} }} oifname != "sk{2}-*" masquerade
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
                     table, note, spec.cluster, spec.ranges.pods.str(), spec.ranges.nodes.str(), guard);
}

}  // namespace

std::string HostNetwork::table_name() const { return fmt::format("{}{}", kTablePrefix, spec_.cluster); }

Status HostNetwork::ensure_egress() {
  TRY_ASSIGN(std::string interface, default_interface(host_));
  if (interface.empty()) return remove_egress();
  TRY_ASSIGN(std::vector<std::string> tables, egress_tables(host_));
  std::string switched;
  for (const std::string& table : tables) {
    TRY_ASSIGN(std::string by_table, switched_interface(host_, table));
    if (!by_table.empty()) switched = by_table;
  }
  TRY_ASSIGN(std::string forwarding,
             sys::in_network(host_, [&] { return sys::read_file(forwarding_file(interface)); }));
  if (forwarding.starts_with('0')) switched = interface;
  TRY(sys::run_nft(host_, table_text(table_name(), spec_, switched)));  // the note first, then the switch
  if (switched.empty()) return ok();
  return sys::in_network(host_, [&] { return sys::write_file(forwarding_file(switched), "1"); });
}

Status HostNetwork::remove_egress() {
  TRY_ASSIGN(std::vector<std::string> tables, egress_tables(host_));
  if (std::find(tables.begin(), tables.end(), table_name()) == tables.end()) return ok();
  TRY_ASSIGN(std::string switched, switched_interface(host_, table_name()));
  // The last cluster switches off what the first one switched on.
  if (!switched.empty() && tables.size() == 1 && sys::exists(forwarding_file(switched)))
    TRY(sys::in_network(host_, [&] { return sys::write_file(forwarding_file(switched), "0"); }));
  TRY(sys::run_nft(host_, fmt::format("delete table ip {}", table_name())));
  return ok();
}

}  // namespace skiff::net
