#pragma once
// What the scheduler needs to know of a pod, computed once.

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/gen/pod.hpp"
#include "api/selector.hpp"
#include "client/object.hpp"

namespace skiff::scheduler {

/// Amounts in the units the scheduler counts in: thousandths of a CPU, bytes, whole pieces of anything else.
struct Resources {
  std::int64_t milli_cpu = 0;
  std::int64_t memory = 0;
  std::int64_t ephemeral_storage = 0;
  std::map<std::string, std::int64_t> others;

  static Resources from(const std::map<std::string, api::Quantity>& list);
  void add(const Resources& more);
  void subtract(const Resources& less);
};

struct HostPort {
  std::string address;  // "0.0.0.0" when the pod does not say
  std::string protocol;
  std::int32_t port;
  auto operator<=>(const HostPort&) const = default;
};
/// A port on all addresses collides with the same port on any.
bool collide(const HostPort& a, const HostPort& b);

/// The labels of namespaces, by name.
using NamespaceLabels = std::map<std::string, api::Labels>;

/// A term of pod (anti-)affinity, ready to match.
struct AffinityTerm {
  AffinityTerm(const api::PodAffinityTerm& term, const api::Pod& pod);
  bool matches(const std::string& namespace_, const api::Labels& labels, const NamespaceLabels& known) const;
  bool matches(const api::Pod& other, const NamespaceLabels& known) const {
    return matches(other.metadata.namespace_, other.metadata.labels, known);
  }

  std::string topology_key;
  api::Selector selector = api::Selector::nothing();
  std::set<std::string> namespaces;
  std::optional<api::Selector> namespace_selector;  // a namespace that it selects will do as well
};

struct WeightedTerm {
  std::int32_t weight;
  AffinityTerm term;
};

struct SpreadConstraint {
  std::int32_t max_skew;
  std::int32_t min_domains;
  std::string topology_key;
  api::Selector selector;
  bool honor_affinity, honor_taints;
};

struct PodInfo {
  explicit PodInfo(client::Ref<api::Pod> pod);

  client::Ref<api::Pod> pod;
  Resources requests;
  Resources scored;  // the same with a minimum for containers that ask for nothing
  std::vector<HostPort> ports;
  std::vector<AffinityTerm> affinity, anti_affinity;
  std::vector<WeightedTerm> preferred_affinity, preferred_anti_affinity;
  std::vector<SpreadConstraint> hard_spread, soft_spread;
  std::string owner_uid;  // of the controller, "" without one
  std::vector<client::ObjectKey> claims;  // that its volumes use
  std::int32_t priority = 0;
  bool terminating = false;
};

using PodInfoRef = std::shared_ptr<const PodInfo>;

}  // namespace skiff::scheduler
