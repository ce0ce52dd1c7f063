// Pods whose policies allow the same share a chain, named by what stands in it; sets have names of the
// caller's, so that a pod that comes or goes is an element, whatever the number of policies that mean it.
#include "net/policy_rules.hpp"

#include <algorithm>

#include "sys/nftables.hpp"

namespace skiff::net {
namespace {

/// How nft spells the parts that differ between the families.
struct Words {
  explicit Words(Family family)
      : ip(family == Family::V4 ? "ip" : "ip6"),
        type(family == Family::V4 ? "ipv4_addr" : "ipv6_addr"),
        table(fmt::format("{} skiff_policy", ip)) {}
  std::string ip, type, table;
};

std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 14695981039346656037U;  // FNV-1a
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return hash;
}

std::string set_name(const std::string& id) { return fmt::format("pods-{:016x}", hash_of(id)); }

std::string port_match(const PortRange& port) {
  std::string_view name = to_string(port.protocol);
  if (port.first == 0 && port.last == 65535) return fmt::format("meta l4proto {}", name);
  if (port.first == port.last) return fmt::format("{} dport {}", name, port.first);
  return fmt::format("{} dport {}-{}", name, port.first, port.last);
}

std::string range_list(const std::vector<AddressRange>& ranges) {
  std::string text;
  for (const AddressRange& range : ranges) {
    text += text.empty() ? "" : ", ";
    text += range.first == range.last ? range.first.str() : range.first.str() + "-" + range.last.str();
  }
  return text;
}

/// Every peer with every port. `peer` is "saddr" or "daddr".
void add_rules(std::string& rules, const Words& words, const PolicyAllow& allow, std::string_view peer) {
  std::vector<std::string> peers, ports;
  if (allow.anybody) peers.emplace_back("");
  if (!allow.anybody && !allow.pods.empty())
    peers.push_back(fmt::format("{} {} @{} ", words.ip, peer, set_name(allow.pods)));
  if (!allow.anybody && !allow.ranges.empty())
    peers.push_back(fmt::format("{} {} {{ {} }} ", words.ip, peer, range_list(allow.ranges)));
  for (const PortRange& port : allow.ports) ports.push_back(port_match(port) + " ");
  if (ports.empty()) ports.emplace_back("");
  for (const std::string& one : peers)
    for (const std::string& port : ports) rules += one + port + "accept\n";
}

std::string chain_rules(const Words& words, const std::vector<PolicyAllow>& allows, std::string_view peer) {
  std::string rules;
  for (const PolicyAllow& allow : allows) add_rules(rules, words, allow, peer);
  return rules + "counter drop\n";
}

std::string frame_text(const Words& words, const PolicyRulesSpec& spec) {
  std::string answering;
  for (Address address : spec.answering) answering += (answering.empty() ? "" : ", ") + address.str();
  for (const Cidr& range : spec.answering_ranges) answering += (answering.empty() ? "" : ", ") + range.str();
  return fmt::format(
      R"(add table {0}
delete table {0}
table {0} {{
  map in_pods {{ type {4} : verdict; }}
  map out_pods {{ type {4} : verdict; }}
  set self {{ type {4} . {4}; }}
  chain egress {{
    type filter hook forward priority -5; policy accept;
    ct state established,related accept
    {3} saddr . {3} daddr @self accept
    {3} saddr vmap @out_pods
  }}
  chain ingress {{
    type filter hook forward priority -4; policy accept;
    ct state established,related accept
    {3} saddr {1} accept
    {3} saddr . {3} daddr @self accept
    {3} daddr vmap @in_pods
  }}
  chain answered {{
    type filter hook input priority -5; policy accept;
    ct state established,related accept
    {2}
  }}
}}
)",
      words.table, spec.nodes.str(),
      answering.empty() ? "" : fmt::format("{0} daddr {{ {1} }} {0} saddr vmap @out_pods", words.ip, answering),
      words.ip, words.type);
}

}  // namespace

std::vector<AddressRange> without(const Cidr& block, const std::vector<Cidr>& except) {
  std::vector<Cidr> holes;
  for (const Cidr& hole : except)
    if (hole.overlaps(block)) holes.push_back(hole);
  std::sort(holes.begin(), holes.end());
  std::vector<AddressRange> ranges;
  Family family = block.family();
  Address next = block.base;
  for (const Cidr& hole : holes) {
    if (hole.base > next) ranges.push_back({next, {family, hole.base.value - 1}});
    if (hole.last() >= block.last()) return ranges;
    next = std::max(next, Address{family, hole.last().value + 1});
  }
  ranges.push_back({next, block.last()});
  return ranges;
}

/// The variable part of the table, as text that compares.
struct PolicyRules::State {
  NodePolicies policies;
  std::map<std::string, std::set<std::string>> sets;  // name → elements
  std::map<std::string, std::string> chains;          // name → rules
  std::map<std::string, std::string> in, out;         // address → chain
  std::set<std::string> self;

  static State of(const Words& words, const NodePolicies& wanted) {
    State state;
    state.policies = wanted;
    for (const auto& [id, addresses] : wanted.sets) {
      std::set<std::string>& elements = state.sets[set_name(id)];
      for (Address address : addresses) elements.insert(address.str());
    }
    for (const auto& [address, policy] : wanted.pods) {
      std::string text = address.str();
      if (policy.ingress) state.in[text] = state.chain("in", chain_rules(words, *policy.ingress, "saddr"));
      if (policy.egress) state.out[text] = state.chain("out", chain_rules(words, *policy.egress, "daddr"));
      if (policy.ingress || policy.egress) state.self.insert(text + " . " + text);
    }
    return state;
  }

  std::string chain(std::string_view direction, std::string rules) {
    std::string name = fmt::format("{}-{:016x}", direction, hash_of(rules));
    chains.emplace(name, std::move(rules));
    return name;
  }
};

namespace {

using Elements = std::vector<std::string>;

std::string element_command(const Words& words, std::string_view verb, std::string_view set, const Elements& elements) {
  if (elements.empty()) return "";
  std::string text = fmt::format("{} element {} {} {{ ", verb, words.table, set);
  for (const std::string& element : elements) text += element + ", ";
  text.resize(text.size() - 2);
  return text + " }\n";
}

struct Difference {
  Elements out, in;
};

Difference difference(const std::set<std::string>& from, const std::set<std::string>& to) {
  Difference change;
  std::set_difference(from.begin(), from.end(), to.begin(), to.end(), std::back_inserter(change.out));
  std::set_difference(to.begin(), to.end(), from.begin(), from.end(), std::back_inserter(change.in));
  return change;
}

Difference difference(const std::map<std::string, std::string>& from,
                      const std::map<std::string, std::string>& to) {
  Difference change;
  for (const auto& [key, chain] : from)
    if (auto next = to.find(key); next == to.end() || next->second != chain) change.out.push_back(key);
  for (const auto& [key, chain] : to)
    if (auto before = from.find(key); before == from.end() || before->second != chain)
      change.in.push_back(fmt::format("{} : goto {}", key, chain));
  return change;
}

std::string chain_text(const Words& words, const std::string& name, const std::string& rules) {
  std::string text = fmt::format("add chain {} {}\n", words.table, name);
  for (size_t begin = 0; begin < rules.size();) {
    size_t end = std::min(rules.find('\n', begin), rules.size());
    text += fmt::format("add rule {} {} {}\n", words.table, name, rules.substr(begin, end - begin));
    begin = end + 1;
  }
  return text;
}

/// References go before what they refer to, and come after it.
template <class State>
std::string change_text(const Words& words, const State& from, const State& to) {
  Difference in = difference(from.in, to.in), out = difference(from.out, to.out),
             self = difference(from.self, to.self);
  std::string text = element_command(words, "delete", "in_pods", in.out) +
                     element_command(words, "delete", "out_pods", out.out) +
                     element_command(words, "delete", "self", self.out);
  for (const auto& [name, rules] : from.chains)
    if (!to.chains.contains(name))
      text += fmt::format("flush chain {0} {1}\ndelete chain {0} {1}\n", words.table, name);
  for (const auto& [name, elements] : from.sets)
    if (!to.sets.contains(name)) text += fmt::format("delete set {} {}\n", words.table, name);
  for (const auto& [name, elements] : to.sets) {
    auto before = from.sets.find(name);
    if (before == from.sets.end()) text += fmt::format("add set {} {} {{ type {}; }}\n", words.table, name, words.type);
    Difference change =
        difference(before == from.sets.end() ? std::set<std::string>() : before->second, elements);
    text += element_command(words, "delete", name, change.out) + element_command(words, "add", name, change.in);
  }
  for (const auto& [name, rules] : to.chains)
    if (!from.chains.contains(name)) text += chain_text(words, name, rules);
  return text + element_command(words, "add", "self", self.in) + element_command(words, "add", "in_pods", in.in) +
         element_command(words, "add", "out_pods", out.in);
}

}  // namespace

PolicyRules::PolicyRules(std::unique_ptr<sys::NftSession> nft, PolicyRulesSpec spec)
    : nft_(std::move(nft)), spec_(std::move(spec)) {}
PolicyRules::~PolicyRules() = default;

Result<std::unique_ptr<PolicyRules>> PolicyRules::open(const UniqueFd& node, PolicyRulesSpec spec) {
  TRY_ASSIGN(std::unique_ptr<sys::NftSession> nft, sys::NftSession::open(node));
  return std::unique_ptr<PolicyRules>(new PolicyRules(std::move(nft), std::move(spec)));
}

Status PolicyRules::apply(const NodePolicies& wanted) {
  MutexLock lock(mutex_);
  if (applied_ && applied_->policies == wanted) return ok();
  const Words words(spec_.nodes.family());
  auto next = std::make_unique<State>(State::of(words, wanted));
  if (applied_) {
    std::string text = change_text(words, *applied_, *next);
    if (text.empty() || nft_->run(text).ok()) {
      applied_ = std::move(next);
      return ok();
    }
    // Somebody else changed the table: replace it whole.
    applied_.reset();
  }
  TRY(nft_->run(frame_text(words, spec_) + change_text(words, State(), *next)));
  applied_ = std::move(next);
  return ok();
}

}  // namespace skiff::net
