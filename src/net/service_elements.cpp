#include "net/service_elements.hpp"

#include <algorithm>

namespace skiff::net {
namespace {

constexpr std::string_view kKeys[] = {"ip daddr . meta l4proto . th dport", "meta l4proto . th dport"};
constexpr std::string_view kKeyTypes[] = {"ipv4_addr . inet_proto . inet_service",
                                          "inet_proto . inet_service"};

/// Which of the map families a frontend's backends stand in.
struct Family {
  bool node;   // keyed without an address
  bool local;  // for clients outside
  std::string prefix() const { return fmt::format("{}{}", node ? "node_" : "", local ? "local_" : ""); }
  std::string_view key() const { return kKeys[node ? 1 : 0]; }
  std::string affinity() const { return node ? "node_affinity" : "affinity"; }
};

/// Backends are known to clients' affinity by a number of their own, which stays when others come and go.
std::uint32_t number_of(const Endpoint& backend) {
  std::uint64_t mixed = (std::uint64_t{backend.address.value} << 16 | backend.port) * 0x9e3779b97f4a7c15U;
  auto number = static_cast<std::uint32_t>(mixed >> 32);
  return number == 0 ? 1 : number;
}

std::string translation(const Family& family, const char* map) {
  return fmt::format("dnat ip to meta mark . {} map @{}{}\n", family.key(), family.prefix(), map);
}

std::string draw(size_t count) {
  return count == 1 ? "meta mark set 0\n" : fmt::format("meta mark set numgen random mod {}\n", count);
}

/// A client that was here before goes where it went, if that still is a backend.
std::string sticky_rules(const Family& family, size_t count, std::uint32_t seconds) {
  std::string client = fmt::format("ip saddr . {}", family.key());
  std::string remember =
      fmt::format("update @{} {{ {} timeout {}s : meta mark }}", family.affinity(), client, seconds);
  std::string translate = translation(family, "sticky");
  return fmt::format("meta mark set {} map @{}\n", client, family.affinity()) +
         fmt::format("meta mark != 0 {} {}", remember, translate) +
         fmt::format("meta mark != 0 delete @{} {{ {} : meta mark }}\n", family.affinity(), client) +
         draw(count) +
         fmt::format("meta mark set meta mark . {} map @{}numbers\n", family.key(), family.prefix()) +
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
    std::string chain = pick({node_, false}, rule_.backends);
    if (rule_.outside) chain = by_side(chain);
    if (!rule_.sources.empty()) chain = guard(chain, key);
    out_.elements.insert({node_ ? "node_ports" : "services", fmt::format("{} : goto {}", key, chain)});
    for (const Endpoint& backend : rule_.backends)
      out_.elements.insert({"hairpins", fmt::format("{0} . {0}", backend.address.str())});
    return std::move(out_);
  }

 private:
  std::string pick(const Family& family, std::vector<Endpoint> backends) {
    std::sort(backends.begin(), backends.end());
    backends.erase(std::unique(backends.begin(), backends.end()), backends.end());
    std::string key = frontend_key(rule_.protocol, frontend_), prefix = family.prefix();
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
    std::string body = sticky ? sticky_rules(family, backends.size(), rule_.affinity_seconds)
                              : draw(backends.size()) + translation(family, "endpoints");
    out_.chains.emplace_back(name, std::move(body));
    return name;
  }

  std::string by_side(const std::string& inside) {
    bool none = rule_.outside->empty();
    std::string outside = none ? "none" : pick({node_, true}, *rule_.outside);
    std::string name = fmt::format("{}_or_{}", inside, outside);
    std::string body =
        fmt::format("ip saddr {0} goto {1}\nfib saddr type local goto {1}\n", spec_.pods.str(), inside);
    body += none ? "drop\n" : fmt::format("goto {}\n", outside);
    out_.chains.emplace_back(name, std::move(body));
    return name;
  }

  std::string guard(const std::string& behind, const std::string& key) {
    std::string set = node_ ? "node_sources" : "sources";
    for (const Cidr& range : rule_.sources)
      // Intervals: a range of one address is spelled as an address.
      out_.elements.insert(
          {set, fmt::format("{} . {}", key, range.length == 32 ? range.base.str() : range.str())});
    std::string name = "guarded_" + behind;
    Family family{node_, false};
    out_.chains.emplace_back(name, fmt::format("fib saddr type != local {} . ip saddr != @{} drop\ngoto {}\n",
                                               family.key(), set, behind));
    return name;
  }

  const ServiceRule& rule_;
  const Frontend& frontend_;
  const ServiceRulesSpec& spec_;
  const bool node_;
  Elements out_;
};

std::string family_maps(const Family& family) {
  std::string_view type = kKeyTypes[family.node ? 1 : 0];
  std::string prefix = family.prefix();
  return fmt::format(R"(  map {0}endpoints {{ type mark . {1} : ipv4_addr . inet_service; }}
  map {0}sticky {{ type mark . {1} : ipv4_addr . inet_service; }}
  map {0}numbers {{ type mark . {1} : mark; }}
)",
                     prefix, type);
}

std::string maps() {
  std::string text;
  for (bool node : {false, true}) {
    for (bool local : {false, true}) text += family_maps({node, local});
    text += fmt::format(
        "  map {}affinity {{ type ipv4_addr . {} : mark; flags dynamic, timeout; size 65536; timeout 3h; }}\n"
        "  set {}sources {{ type {} . ipv4_addr; flags interval; }}\n",
        node ? "node_" : "", kKeyTypes[node ? 1 : 0], node ? "node_" : "", kKeyTypes[node ? 1 : 0]);
  }
  return text;
}

}  // namespace

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
  return fmt::format(R"(add table {0}
delete table {0}
table {0} {{
  map services {{ type {4} : verdict; }}
  map node_ports {{ type {5} : verdict; }}
  set refused {{ type {4}; }}
  set hairpins {{ type ipv4_addr . ipv4_addr; }}
{3}
  chain translate {{
    ip daddr . meta l4proto . th dport vmap @services
    ip daddr != {{ {1}, 127.0.0.0/8 }} fib daddr type local meta l4proto . th dport vmap @node_ports
  }}
  chain prerouting {{ type nat hook prerouting priority dstnat; policy accept; jump translate; }}
  chain output {{ type nat hook output priority -100; policy accept; jump translate; }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    iifname "{2}" oifname "{2}" ct status dnat masquerade
    ip saddr . ip daddr @hairpins ct status dnat masquerade
  }}
  chain refuse {{
    ip daddr . meta l4proto . th dport @refused reject
    ip daddr {{ {1} }} fib daddr type != local reject
  }}
  chain forward {{ type filter hook forward priority filter; policy accept; ct state new jump refuse; }}
  chain local_out {{ type filter hook output priority filter; policy accept; ct state new jump refuse; }}
}}
)",
                     kServiceTable, ranges, spec.uplink, maps(), kKeyTypes[0], kKeyTypes[1]);
}

}  // namespace skiff::net
