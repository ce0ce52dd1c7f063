#include "net/service_rules.hpp"

#include <algorithm>

#include "sys/namespaces.hpp"
#include "sys/nftables.hpp"

namespace skiff::net {
namespace {

constexpr std::string_view kTable = "ip skiff";

std::string chain_name(const std::string& id) {
  std::uint64_t hash = 14695981039346656037U;  // FNV-1a
  for (char c : id) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return fmt::format("svc-{:016x}", hash);
}

/// The one rule of a service's chain: translate to a backend, chosen by chance or by the client's address.
std::string backend_rule(const ServiceRule& rule) {
  std::vector<Endpoint> backends = rule.backends;
  std::sort(backends.begin(), backends.end());  // an order of its own: equal sets give equal text
  if (backends.size() == 1)
    return fmt::format("meta l4proto {} dnat to {}", to_string(rule.protocol), backends[0].str());
  std::string choice = rule.client_affinity
                           ? fmt::format("jhash ip saddr mod {} seed 0x5ca1ab1e", backends.size())
                           : fmt::format("numgen random mod {}", backends.size());
  std::string map;
  for (size_t i = 0; i < backends.size(); ++i)
    map += fmt::format("{}{} : {} . {}", i == 0 ? "" : ", ", i, backends[i].address.str(), backends[i].port);
  return fmt::format("meta l4proto {} dnat ip addr . port to {} map {{ {} }}", to_string(rule.protocol),
                     choice, map);
}

/// What stands in the table however many services there are.
std::string frame_text(const ServiceRulesSpec& spec) {
  std::string services = spec.services.str();
  return fmt::format(R"(add table {0}
delete table {0}
table {0} {{
  map services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map node_ports {{ type inet_proto . inet_service : verdict; }}
  set refused {{ type ipv4_addr . inet_proto . inet_service; }}
  set hairpins {{ type ipv4_addr . ipv4_addr; }}
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
    ip daddr {1} fib daddr type != local reject
  }}
  chain forward {{ type filter hook forward priority filter; policy accept; ct state new jump refuse; }}
  chain local_out {{ type filter hook output priority filter; policy accept; ct state new jump refuse; }}
}}
)",
                     kTable, services, spec.uplink);
}

}  // namespace

/// The variable part of the table, as text that compares.
struct ServiceRules::State {
  std::map<std::string, std::string> chains;      // name → its rule
  std::map<std::string, std::string> services;    // "10.96.0.1 . tcp . 443" → chain
  std::map<std::string, std::string> node_ports;  // "tcp . 30080" → chain
  std::set<std::string> refused, hairpins;        // elements

  static State of(const ServiceRulesSpec& spec, const std::vector<ServiceRule>& wanted);
  void add_frontend(const ServiceRule& rule, const Frontend& frontend, const std::string& chain);
};

void ServiceRules::State::add_frontend(const ServiceRule& rule, const Frontend& frontend,
                                       const std::string& chain) {
  std::string port = fmt::format("{} . {}", to_string(rule.protocol), frontend.port);
  std::string key = frontend.address ? fmt::format("{} . {}", frontend.address->str(), port) : port;
  // A node's own port without backends is refused by itself: nobody listens there.
  if (!chain.empty())
    (frontend.address ? services : node_ports).emplace(key, chain);
  else if (frontend.address && !services.contains(key))
    refused.insert(key);
}

ServiceRules::State ServiceRules::State::of(const ServiceRulesSpec& spec,
                                            const std::vector<ServiceRule>& wanted) {
  State state;
  for (const ServiceRule& rule : wanted) {
    std::string chain = rule.backends.empty() ? "" : chain_name(rule.id);
    if (!chain.empty()) state.chains[chain] = backend_rule(rule);
    for (const Frontend& frontend : rule.frontends)
      if (!frontend.address || !spec.local.contains(*frontend.address))
        state.add_frontend(rule, frontend, chain);
    for (const Endpoint& backend : rule.backends)
      state.hairpins.insert(fmt::format("{0} . {0}", backend.address.str()));
  }
  return state;
}

namespace {

using Elements = std::vector<std::string>;

/// One command for many elements; nothing for none.
std::string element_command(std::string_view verb, std::string_view set, const Elements& elements) {
  if (elements.empty()) return "";
  std::string text = fmt::format("{} element {} {} {{ ", verb, kTable, set);
  for (const std::string& element : elements) text += element + ", ";
  text.resize(text.size() - 2);
  return text + " }\n";
}

/// What has to be taken out of a map or set and what has to be put in.
struct ElementChange {
  Elements out, in;
};

ElementChange difference(const std::map<std::string, std::string>& from,
                         const std::map<std::string, std::string>& to) {
  ElementChange change;
  for (const auto& [key, chain] : from)
    if (auto found = to.find(key); found == to.end() || found->second != chain) change.out.push_back(key);
  for (const auto& [key, chain] : to)
    if (auto found = from.find(key); found == from.end() || found->second != chain)
      change.in.push_back(fmt::format("{} : goto {}", key, chain));
  return change;
}

ElementChange difference(const std::set<std::string>& from, const std::set<std::string>& to) {
  ElementChange change;
  std::set_difference(from.begin(), from.end(), to.begin(), to.end(), std::back_inserter(change.out));
  std::set_difference(to.begin(), to.end(), from.begin(), from.end(), std::back_inserter(change.in));
  return change;
}

/// References go before what they refer to, and come after it.
template <class State>
std::string change_text(const State& from, const State& to) {
  const std::pair<std::string_view, ElementChange> changes[] = {
      {"services", difference(from.services, to.services)},
      {"node_ports", difference(from.node_ports, to.node_ports)},
      {"refused", difference(from.refused, to.refused)},
      {"hairpins", difference(from.hairpins, to.hairpins)}};
  std::string text;
  for (const auto& [set, change] : changes) text += element_command("delete", set, change.out);
  for (const auto& [chain, rule] : from.chains) {
    auto next = to.chains.find(chain);
    if (next != to.chains.end() && next->second == rule) continue;
    text += fmt::format("flush chain {} {}\n", kTable, chain);
    if (next == to.chains.end()) text += fmt::format("delete chain {} {}\n", kTable, chain);
  }
  for (const auto& [chain, rule] : to.chains) {
    auto before = from.chains.find(chain);
    if (before != from.chains.end() && before->second == rule) continue;
    if (before == from.chains.end()) text += fmt::format("add chain {} {}\n", kTable, chain);
    text += fmt::format("add rule {} {} {}\n", kTable, chain, rule);
  }
  for (const auto& [set, change] : changes) text += element_command("add", set, change.in);
  return text;
}

}  // namespace

ServiceRules::ServiceRules(UniqueFd node, ServiceRulesSpec spec)
    : node_(std::move(node)), spec_(std::move(spec)) {}
ServiceRules::~ServiceRules() = default;

Result<std::unique_ptr<ServiceRules>> ServiceRules::open(UniqueFd node, ServiceRulesSpec spec) {
  return std::unique_ptr<ServiceRules>(new ServiceRules(std::move(node), std::move(spec)));
}

Status ServiceRules::apply(const std::vector<ServiceRule>& wanted) {
  auto next = std::make_unique<State>(State::of(spec_, wanted));
  MutexLock lock(mutex_);
  if (applied_) {
    std::string text = change_text(*applied_, *next);
    if (text.empty()) return ok();
    if (sys::run_nft(node_, text).ok()) {
      applied_ = std::move(next);
      return ok();
    }
    // Somebody else changed the table: replace it whole.
    applied_.reset();
  }
  TRY(sys::run_nft(node_, frame_text(spec_) + change_text(State(), *next)));
  applied_ = std::move(next);
  return ok();
}

Status ServiceRules::remove() {
  MutexLock lock(mutex_);
  applied_.reset();
  TRY(sys::run_nft(node_, fmt::format("add table {0}\ndelete table {0}\n", kTable)));
  return ok();
}

}  // namespace skiff::net
