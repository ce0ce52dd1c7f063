#include "scheduler/preemption.hpp"

#include <algorithm>
#include <limits>
#include <tuple>

namespace skiff::scheduler {
namespace {

// So many nodes are tried at most, or a tenth of all (DefaultPreemptionArgs).
constexpr size_t kLeastCandidates = 100;
constexpr size_t kCandidateShare = 10;

api::Time began(const PodInfo& pod) {
  return pod.pod->status.startTime ? pod.pod->status.startTime : pod.pod->metadata.creationTimestamp;
}

bool more_important(const PodInfoRef& a, const PodInfoRef& b) {
  return a->priority != b->priority ? a->priority > b->priority : began(*a) < began(*b);
}

// Pods whose eviction some budget does not allow come first in line to stay.
std::vector<bool> violations(const std::vector<PodInfoRef>& pods,
                             const std::vector<client::Ref<api::PodDisruptionBudget>>& budgets) {
  std::vector<std::int32_t> allowed;
  std::vector<api::Selector> selectors;
  for (const auto& budget : budgets) {
    Result<api::Selector> selector =
        budget->spec.selector ? api::Selector::from(*budget->spec.selector) : api::Selector::nothing();
    selectors.push_back(selector.ok() && !selector.value().selects_everything() ? std::move(selector).value()
                                                                                : api::Selector::nothing());
    allowed.push_back(budget->status.disruptionsAllowed);
  }
  std::vector<bool> violates;
  for (const PodInfoRef& one : pods) {
    bool any = false;
    const api::ObjectMeta& pod = one->pod->metadata;
    for (size_t i = 0; i < budgets.size(); ++i) {
      if (budgets[i]->metadata.namespace_ != pod.namespace_ || !selectors[i].matches(pod.labels)) continue;
      if (budgets[i]->status.disruptedPods.contains(pod.name)) continue;  // already on its way
      any |= --allowed[i] < 0;
    }
    violates.push_back(any);
  }
  return violates;
}

// Takes the pods of lower priority off one node, and puts back those who can stay.
class DryRun {
 public:
  DryRun(const PreemptionQuestion& question, const std::string& node) : question_(question), node_(node) {
    for (const auto& [key, pod] : question.cluster.find(node)->pods)
      if (pod->priority < question.pod.priority) lower_.push_back(pod);
    std::sort(lower_.begin(), lower_.end(), more_important);
    for (const PodInfoRef& pod : lower_) take(pod);
  }
  ~DryRun() {
    for (const PodInfoRef& pod : taken_) question_.cluster.set_pod(pod, node_);
  }

  bool has_lower() const { return !lower_.empty(); }
  NodeVerdict check() const {
    return Filtering(question_.pod, question_.cluster, question_.volumes).check(*question_.cluster.find(node_));
  }

  Victims reprieve() {
    Victims victims{node_, {}, 0};
    const std::vector<bool> violates = violations(lower_, question_.budgets);
    for (bool violating : {true, false})
      for (size_t i = 0; i < lower_.size(); ++i)
        if (violates[i] == violating && !can_stay(lower_[i])) {
          victims.pods.push_back(lower_[i]);
          victims.violations += violating ? 1 : 0;
        }
    std::sort(victims.pods.begin(), victims.pods.end(), more_important);
    return victims;
  }

 private:
  void take(const PodInfoRef& pod) {
    question_.cluster.remove_pod(client::key_of(*pod->pod));
    taken_.push_back(pod);
  }
  bool can_stay(const PodInfoRef& pod) {
    question_.cluster.set_pod(pod, node_);
    std::erase(taken_, pod);
    if (check().reasons.empty()) return true;
    take(pod);
    return false;
  }

  const PreemptionQuestion& question_;
  const std::string node_;
  std::vector<PodInfoRef> lower_, taken_;
};

// Smaller is better (pickOneNodeForPreemption).
auto cost(const Victims& victims) {
  std::int64_t sum = 0;
  std::int32_t highest = std::numeric_limits<std::int32_t>::min();
  api::Time earliest;
  for (const PodInfoRef& pod : victims.pods) {
    // Shifted to be positive: more victims always sum to more.
    sum += std::int64_t{pod->priority} + std::numeric_limits<std::int32_t>::max() + 1;
    if (pod->priority > highest) highest = pod->priority, earliest = began(*pod);
    else if (pod->priority == highest) earliest = std::min(earliest, began(*pod));
  }
  return std::tuple(victims.violations, highest, sum, victims.pods.size(), -earliest.unix_seconds());
}

}  // namespace

std::optional<Victims> find_victims(const PreemptionQuestion& question, std::vector<NodeVerdict>& verdicts) {
  std::optional<Victims> best;
  size_t left = std::max(kLeastCandidates, verdicts.size() / kCandidateShare);
  for (NodeVerdict& verdict : verdicts) {
    if (verdict.hopeless || verdict.reasons.empty()) continue;
    DryRun run(question, verdict.node);
    if (!run.has_lower()) continue;
    NodeVerdict empty = run.check();
    if (!empty.reasons.empty()) {
      verdict.even_empty = std::move(empty.reasons);
      continue;
    }
    Victims victims = run.reprieve();
    if (!best || cost(victims) < cost(*best)) best = std::move(victims);
    if (--left == 0) break;
  }
  return best;
}

}  // namespace skiff::scheduler
