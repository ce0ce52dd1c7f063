#include "scheduler/explanation.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <map>

namespace skiff::scheduler {
namespace {

// "2 a, 1 b", sorted as text like kube-scheduler does.
std::string histogram(const std::map<std::string, int>& counts) {
  std::vector<std::string> parts;
  for (const auto& [reason, count] : counts) parts.push_back(fmt::format("{} {}", count, reason));
  std::sort(parts.begin(), parts.end());
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

std::string preemption_message(const Refusal& refusal) {
  if (!refusal.ineligible.empty()) return refusal.ineligible;
  std::map<std::string, int> counts;
  for (const NodeVerdict& verdict : refusal.verdicts) {
    if (verdict.hopeless) ++counts["Preemption is not helpful for scheduling"];
    else if (verdict.even_empty.empty()) ++counts["No preemption victims found for incoming pod"];
    for (const std::string& reason : verdict.even_empty) ++counts[reason];
  }
  return fmt::format("0/{} nodes are available: {}.", refusal.verdicts.size(), histogram(counts));
}

}  // namespace

std::string unschedulable_message(const Refusal& refusal) {
  if (refusal.verdicts.empty()) return "no nodes available to schedule pods";
  std::map<std::string, int> counts;
  for (const NodeVerdict& verdict : refusal.verdicts)
    for (const std::string& reason : verdict.reasons) ++counts[reason];
  std::string text = fmt::format("0/{} nodes are available: {}.", refusal.verdicts.size(),
                                 refusal.whole_pod.empty() ? histogram(counts) : refusal.whole_pod);
  if (refusal.preempts) return text;
  return text + " no new claims to deallocate, preemption: " + preemption_message(refusal);
}

}  // namespace skiff::scheduler
