#include "net/service_rules.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "net/service_elements.hpp"
#include "sys/conntrack.hpp"
#include "sys/nftables.hpp"

namespace skiff::net {
namespace {

using FrontendId = std::pair<Protocol, Frontend>;

/// What several frontends may need, with how many do.
using Counted = std::map<Element, int>;
using CountedChains = std::map<std::string, std::pair<std::string, int>>;

std::string key_of(const std::string& element) { return element.substr(0, element.find(" : ")); }

/// One command for all elements of a set.
std::string element_commands(std::string_view table, std::string_view verb, const std::vector<Element>& elements, bool keys_only) {
  std::map<std::string, std::string> by_set;
  for (const auto& [set, element] : elements) {
    std::string& text = by_set[set];
    text += text.empty() ? "" : ", ";
    text += keys_only ? key_of(element) : element;
  }
  std::string text;
  for (const auto& [set, list] : by_set)
    text += fmt::format("{} element {} {} {{ {} }}\n", verb, table, set, list);
  return text;
}

std::string chain_text(std::string_view table, const std::string& name, const std::string& rules) {
  std::string text = fmt::format("add chain {} {}\n", table, name);
  for (size_t begin = 0; begin < rules.size();) {
    size_t end = std::min(rules.find('\n', begin), rules.size());
    text += fmt::format("add rule {} {} {}\n", table, name, rules.substr(begin, end - begin));
    begin = end + 1;
  }
  return text;
}

/// Flows of UDP last as long as packets come, so those to a backend that is gone would never end.
struct UdpFrontend {
  std::optional<Address> address;
  std::set<Endpoint> backends;
};
using UdpFrontends = std::map<std::uint16_t, std::vector<UdpFrontend>>;  // by port

bool is_stale(const sys::Flow& flow, const UdpFrontends& changed) {
  auto found = changed.find(flow.original_port);
  if (found == changed.end()) return false;
  for (const UdpFrontend& frontend : found->second)
    if (!frontend.address || *frontend.address == flow.original_destination)
      return !frontend.backends.contains({flow.reply_source, flow.reply_port});
  return false;
}

}  // namespace

/// Which rules want which frontend, and what of it stands in the kernel.
struct ServiceRules::State {
  using Rules = std::map<std::string, ServiceRule>;  // by id
  std::map<std::string, Rules> groups;
  std::map<FrontendId, std::map<std::string, const ServiceRule*>> claims;
  std::map<FrontendId, Elements> compiled;
  Counted elements;
  CountedChains chains;
  bool written = false;  // whether the kernel has it

  /// What changes on the way to another state.
  struct Change {
    std::set<FrontendId> touched;
    std::map<Element, int> elements;  // by how much the count changes
    std::map<std::string, std::pair<std::string, int>> chains;
    std::vector<std::string> chain_order;
    UdpFrontends udp;
  };

  RuleGroups all() const {
    RuleGroups all;
    for (const auto& [name, rules] : groups)
      for (const auto& [id, rule] : rules) all[name].push_back(rule);
    return all;
  }

  void set_group(const std::string& name, const std::vector<ServiceRule>& rules, Change& change) {
    for (auto& [id, rule] : groups[name]) unclaim(rule, change);
    groups.erase(name);
    if (rules.empty()) return;
    Rules& kept = groups[name];
    for (const ServiceRule& rule : rules) kept[rule.id] = rule;
    for (auto& [id, rule] : kept)
      for (const Frontend& frontend : rule.frontends) {
        claims[{rule.protocol, frontend}][id] = &rule;
        change.touched.insert({rule.protocol, frontend});
      }
  }

  void unclaim(const ServiceRule& rule, Change& change) {
    for (const Frontend& frontend : rule.frontends) {
      FrontendId id{rule.protocol, frontend};
      change.touched.insert(id);
      auto claim = claims.find(id);
      if (claim == claims.end()) continue;
      claim->second.erase(rule.id);
      if (claim->second.empty()) claims.erase(claim);
    }
  }

  /// Compiles what was touched again.
  void settle(const ServiceRulesSpec& spec, Change& change) {
    for (const FrontendId& id : change.touched) {
      const auto& [protocol, frontend] = id;
      if (frontend.address && spec.local.contains(*frontend.address)) continue;
      Elements next;
      auto claim = claims.find(id);
      if (claim != claims.end()) next = frontend_elements(*claim->second.begin()->second, frontend, spec);
      Elements& now = compiled[id];
      if (protocol == Protocol::Udp && now.elements != next.elements)
        note_udp(frontend, claim == claims.end() ? nullptr : claim->second.begin()->second, change);
      count(now, -1, change);
      count(next, 1, change);
      now = std::move(next);
      if (claim == claims.end()) compiled.erase(id);
    }
  }

  static void note_udp(const Frontend& frontend, const ServiceRule* rule, Change& change) {
    UdpFrontend udp{frontend.address, {}};
    if (rule != nullptr) udp.backends = {rule->backends.begin(), rule->backends.end()};
    change.udp[frontend.port].push_back(std::move(udp));
  }

  static void count(const Elements& what, int by, Change& change) {
    for (const Element& element : what.elements) change.elements[element] += by;
    for (const auto& [name, rules] : what.chains) {
      auto [chain, first] = change.chains.try_emplace(name, rules, 0);
      chain->second.second += by;
      if (first) change.chain_order.push_back(name);
    }
  }

  /// The transaction; the counts are those after it. References go before what they refer to, and come after.
  std::string commit(std::string_view table, const Change& change) {
    std::vector<Element> out, in;
    for (const auto& [element, by] : change.elements) {
      if (by == 0) continue;
      int& now = elements[element];
      if (now == 0) in.push_back(element);
      now += by;
      if (now != 0) continue;
      out.push_back(element);
      elements.erase(element);
    }
    std::string new_chains, flushed, deleted;
    for (const std::string& name : change.chain_order) {
      const auto& [rules, by] = change.chains.at(name);
      if (by == 0) continue;
      auto& [kept, uses] = chains[name];
      if (uses == 0) new_chains += chain_text(table, name, rules);
      kept = rules;
      uses += by;
      if (uses != 0) continue;
      flushed += fmt::format("flush chain {} {}\n", table, name);
      deleted += fmt::format("delete chain {} {}\n", table, name);
      chains.erase(name);
    }
    return element_commands(table, "delete", out, true) + flushed + deleted + new_chains +
           element_commands(table, "add", in, false);
  }
};

ServiceRules::ServiceRules(UniqueFd node, std::unique_ptr<sys::NftSession> nft, ServiceRulesSpec spec)
    : node_(std::move(node)), nft_(std::move(nft)), spec_(std::move(spec)) {}
ServiceRules::~ServiceRules() = default;

Result<std::unique_ptr<ServiceRules>> ServiceRules::open(UniqueFd node, ServiceRulesSpec spec) {
  TRY_ASSIGN(std::unique_ptr<sys::NftSession> nft, sys::NftSession::open(node));
  return std::unique_ptr<ServiceRules>(new ServiceRules(std::move(node), std::move(nft), std::move(spec)));
}

std::string ServiceRules::table() const { return table_name(spec_.family()); }

Status ServiceRules::write_all(const RuleGroups& all) {
  auto next = std::make_unique<State>();
  State::Change change;
  for (const auto& [name, rules] : all) next->set_group(name, rules, change);
  next->settle(spec_, change);
  TRY(nft_->run(service_table(spec_) + next->commit(table(), change)));
  next->written = true;
  applied_ = std::move(next);
  return ok();
}

Status ServiceRules::replace(const RuleGroups& all) {
  MutexLock lock(mutex_);
  return write_all(all);
}

Status ServiceRules::change(const RuleGroups& groups) {
  MutexLock lock(mutex_);
  if (!applied_) applied_ = std::make_unique<State>();
  State::Change change;
  for (const auto& [name, rules] : groups) applied_->set_group(name, rules, change);
  applied_->settle(spec_, change);
  std::string text = applied_->commit(table(), change);
  if (applied_->written && text.empty()) return ok();
  applied_->written = applied_->written && nft_->run(text).ok();
  // There is no table yet, or somebody else changed it: the whole of it, with this change.
  if (!applied_->written) TRY(write_all(applied_->all()));
  if (change.udp.empty()) return ok();
  Status forgotten =
      sys::remove_udp_flows(node_, spec_.family(), [&](const sys::Flow& flow) { return is_stale(flow, change.udp); });
  if (!forgotten.ok()) log::warning("service-rules", "{}", forgotten.error().message());
  return ok();
}

Status ServiceRules::remove() {
  MutexLock lock(mutex_);
  applied_.reset();
  TRY(nft_->run(fmt::format("add table {0}\ndelete table {0}\n", table())));
  return ok();
}

}  // namespace skiff::net
