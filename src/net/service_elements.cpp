#include "net/service_elements.hpp"

#include <algorithm>

namespace skiff::net {
namespace {

constexpr std::string_view kNodeKey = "meta l4proto . th dport", kNodeKeyType = "inet_proto . inet_service";

std::string_view ip_of(Family family) { return family == Family::V4 ? "ip" : "ip6"; }
std::string_view address_type(Family family) { return family == Family::V4 ? "ipv4_addr" : "ipv6_addr"; }

/// Which maps a frontend's backends stand in.
struct Maps {
  Family family;
  bool node;   // keyed without an address
  bool local;  // for clients outside
  std::string prefix() const { return fmt::format("{}{}", node ? "node_" : "", local ? "local_" : ""); }
  std::string key() const {
    return node ? std::string(kNodeKey) : fmt::format("{} daddr . {}", ip_of(family), kNodeKey);
  }
  std::string key_type() const {
    return node ? std::string(kNodeKeyType) : fmt::format("{} . {}", address_type(family), kNodeKeyType);
  }
  std::string affinity() const { return node ? "node_affinity" : "affinity"; }
  /// How a client of a frontend is known again. Both addresses of IPv6 are more than nft has registers for; of two
  /// clients with the same hash one may lose its backend to the other's.
  std::string client() const {
    return family == Family::V4 ? fmt::format("ip saddr . {}", key()) : std::string("ct mark");
  }
  std::string client_type() const {
    return family == Family::V4 ? fmt::format("ipv4_addr . {}", key_type()) : std::string("mark");
  }
  /// What has to come before client() can be asked for.
  std::string know_client() const {
    return family == Family::V4 ? "" : fmt::format("ct mark set jhash ip6 saddr . {} mod 4294967295\n", key());
  }
};

/// Backends are known to clients' affinity by a number of their own, which stays when others come and go.
std::uint32_t number_of(const Endpoint& backend) {
  auto upper = static_cast<std::uint64_t>(backend.address.value >> 64), lower = static_cast<std::uint64_t>(backend.address.value);
  std::uint64_t mixed = ((lower ^ upper * 0xff51afd7ed558ccdU) << 16 | backend.port) * 0x9e3779b97f4a7c15U;
  auto number = static_cast<std::uint32_t>(mixed >> 32);
  return number == 0 ? 1 : number;
}

std::string translation(const Maps& maps, const char* map) {
  return fmt::format("dnat {} to meta mark . {} map @{}{}\n", ip_of(maps.family), maps.key(), maps.prefix(), map);
}

std::string draw(size_t count) {
  return count == 1 ? "meta mark set 0\n" : fmt::format("meta mark set numgen random mod {}\n", count);
}

/// A client that was here before goes where it went, if that still is a backend.
std::string sticky_rules(const Maps& maps, size_t count, std::uint32_t seconds) {
  std::string client = maps.client();
  std::string remember =
      fmt::format("update @{} {{ {} timeout {}s : meta mark }}", maps.affinity(), client, seconds);
  std::string translate = translation(maps, "sticky");
  return maps.know_client() + fmt::format("meta mark set {} map @{}\n", client, maps.affinity()) +
         fmt::format("meta mark != 0 {} {}", remember, translate) +
         fmt::format("meta mark != 0 delete @{} {{ {} : meta mark }}\n", maps.affinity(), client) +
         draw(count) +
         fmt::format("meta mark set meta mark . {} map @{}numbers\n", maps.key(), maps.prefix()) +
         remember + "\n" + translate;
}

class Compiler {
 public:
  Compiler(const ServiceRule& rule, const Frontend& frontend, const ServiceRulesSpec& spec)
      : rule_(rule), frontend_(frontend), spec_(spec), node_(!frontend.address) {}

  Elements run() {
    std::string key = frontend_key(rule_.protocol, frontend_);
    if (rule_.backends.empty()) {
      // A node's own port without backends is refused by itself: nobody listens there.
      if (!node_) out_.elements.insert({"refused", key});
      return std::move(out_);
    }
    std::string chain = pick({spec_.family(), node_, false}, rule_.backends);
    if (rule_.outside) chain = by_side(chain);
    if (!rule_.sources.empty()) chain = guard(chain, key);
    out_.elements.insert({node_ ? "node_ports" : "services", fmt::format("{} : goto {}", key, chain)});
    for (const Endpoint& backend : rule_.backends)
      out_.elements.insert({"hairpins", fmt::format("{0} . {0}", backend.address.str())});
    return std::move(out_);
  }

 private:
  std::string pick(const Maps& maps, std::vector<Endpoint> backends) {
    std::sort(backends.begin(), backends.end());
    backends.erase(std::unique(backends.begin(), backends.end()), backends.end());
    std::string key = frontend_key(rule_.protocol, frontend_), prefix = maps.prefix();
    bool sticky = rule_.affinity_seconds != 0;
    for (size_t i = 0; i < backends.size(); ++i) {
      std::string where = fmt::format("{} . {}", backends[i].address.str(), backends[i].port);
      std::uint32_t number = number_of(backends[i]);
      if (sticky) {
        out_.elements.insert({prefix + "numbers", fmt::format("{} . {} : {}", i, key, number)});
        out_.elements.insert({prefix + "sticky", fmt::format("{} . {} : {}", number, key, where)});
      } else {
        out_.elements.insert({prefix + "endpoints", fmt::format("{} . {} : {}", i, key, where)});
      }
    }
    std::string name = fmt::format("{}pick_{}", prefix, backends.size());
    if (sticky) name += fmt::format("_{}s", rule_.affinity_seconds);
    std::string body = sticky ? sticky_rules(maps, backends.size(), rule_.affinity_seconds)
                              : draw(backends.size()) + translation(maps, "endpoints");
    out_.chains.emplace_back(name, std::move(body));
    return name;
  }

  std::string by_side(const std::string& inside) {
    bool none = rule_.outside->empty();
    std::string outside = none ? "none" : pick({spec_.family(), node_, true}, *rule_.outside);
    std::string name = fmt::format("{}_or_{}", inside, outside);
    std::string body =
        fmt::format("{2} saddr {0} goto {1}\nfib saddr type local goto {1}\n", spec_.pods.str(), inside, ip_of(spec_.family()));
    body += none ? "drop\n" : fmt::format("goto {}\n", outside);
    out_.chains.emplace_back(name, std::move(body));
    return name;
  }

  std::string guard(const std::string& behind, const std::string& key) {
    std::string set = node_ ? "node_sources" : "sources";
    for (const Cidr& range : rule_.sources)
      // Intervals: a range of one address is spelled as an address.
      out_.elements.insert(
          {set, fmt::format("{} . {}", key, range.single() ? range.base.str() : range.str())});
    std::string name = "guarded_" + behind;
    Maps maps{spec_.family(), node_, false};
    out_.chains.emplace_back(name, fmt::format("fib saddr type != local {} . {} saddr != @{} drop\ngoto {}\n",
                                               maps.key(), ip_of(maps.family), set, behind));
    return name;
  }

  const ServiceRule& rule_;
  const Frontend& frontend_;
  const ServiceRulesSpec& spec_;
  const bool node_;
  Elements out_;
};

std::string backend_maps(const Maps& maps) {
  return fmt::format(R"(  map {0}endpoints {{ type mark . {1} : {2} . inet_service; }}
  map {0}sticky {{ type mark . {1} : {2} . inet_service; }}
  map {0}numbers {{ type mark . {1} : mark; }}
)",
                     maps.prefix(), maps.key_type(), address_type(maps.family));
}

std::string all_maps(Family family) {
  std::string text;
  for (bool node : {false, true}) {
    for (bool local : {false, true}) text += backend_maps({family, node, local});
    Maps maps{family, node, false};
    text += fmt::format(
        "  map {0}affinity {{ type {3} : mark; flags dynamic, timeout; size 65536; timeout 3h; }}\n"
        "  set {0}sources {{ type {1} . {2}; flags interval; }}\n",
        maps.prefix(), maps.key_type(), address_type(family), maps.client_type());
  }
  return text;
}

}  // namespace

std::string table_name(Family family) { return fmt::format("{} skiff", ip_of(family)); }

std::string frontend_key(Protocol protocol, const Frontend& frontend) {
  std::string port = fmt::format("{} . {}", to_string(protocol), frontend.port);
  return frontend.address ? fmt::format("{} . {}", frontend.address->str(), port) : port;
}

Elements frontend_elements(const ServiceRule& rule, const Frontend& frontend, const ServiceRulesSpec& spec) {
  return Compiler(rule, frontend, spec).run();
}

std::string service_table(const ServiceRulesSpec& spec) {
  std::string ranges = spec.services.str();
  if (spec.balancers) ranges += ", " + spec.balancers->str();
  Maps with_address{spec.family(), false, false}, of_node{spec.family(), true, false};
  return fmt::format(R"(add table {0}
delete table {0}
table {0} {{
  map services {{ type {4} : verdict; }}
  map node_ports {{ type {5} : verdict; }}
  set refused {{ type {4}; }}
  set hairpins {{ type {7} . {7}; }}
{3}
  chain translate {{
    {6} daddr . meta l4proto . th dport vmap @services
    {6} daddr != {{ {1}, {8} }} fib daddr type local meta l4proto . th dport vmap @node_ports
  }}
  chain prerouting {{ type nat hook prerouting priority dstnat; policy accept; jump translate; }}
  chain output {{ type nat hook output priority -100; policy accept; jump translate; }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    iifname "{2}" oifname "{2}" ct status dnat masquerade
    {6} saddr . {6} daddr @hairpins ct status dnat masquerade
  }}
  chain refuse {{
    {6} daddr . meta l4proto . th dport @refused reject
    {6} daddr {{ {1} }} fib daddr type != local reject
  }}
  chain forward {{ type filter hook forward priority filter; policy accept; ct state new jump refuse; }}
  chain local_out {{ type filter hook output priority filter; policy accept; ct state new jump refuse; }}
}}
)",
                     table_name(spec.family()), ranges, spec.uplink, all_maps(spec.family()), with_address.key_type(),
                     of_node.key_type(), ip_of(spec.family()), address_type(spec.family()),
                     spec.family() == Family::V4 ? "127.0.0.0/8" : "::1");
}

}  // namespace skiff::net
