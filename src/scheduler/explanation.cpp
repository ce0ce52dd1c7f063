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

std::string preemption_message(const std::vector<NodeVerdict>& verdicts, bool never_preempts) {
  if (never_preempts) return "not eligible due to preemptionPolicy=Never.";
  std::map<std::string, int> counts;
  for (const NodeVerdict& verdict : verdicts)
    ++counts[verdict.hopeless ? "Preemption is not helpful for scheduling"
                              : "No preemption victims found for incoming pod"];
  return fmt::format("0/{} nodes are available: {}.", verdicts.size(), histogram(counts));
}

}  // namespace

std::string unschedulable_message(const std::vector<NodeVerdict>& verdicts, bool never_preempts) {
  if (verdicts.empty()) return "no nodes available to schedule pods";
  std::map<std::string, int> counts;
  for (const NodeVerdict& verdict : verdicts)
    for (const std::string& reason : verdict.reasons) ++counts[reason];
  return fmt::format("0/{} nodes are available: {}. no new claims to deallocate, preemption: {}",
                     verdicts.size(), histogram(counts), preemption_message(verdicts, never_preempts));
}

}  // namespace skiff::scheduler
