#include "kubelet/cpu_meter.hpp"

namespace skiff::kubelet {
namespace {

CpuRate rate_between(const CpuReading& base, const CpuReading& now) {
  Duration window = now.at - base.at;
  if (window <= Duration::zero() || now.total_ns < base.total_ns) return {};  // a clock or counter was set back
  double seconds = std::chrono::duration<double>(window).count();
  return {window, static_cast<std::uint64_t>(static_cast<double>(now.total_ns - base.total_ns) / seconds)};
}

}  // namespace

CpuRate CpuMeter::add(const std::string& group, const CpuReading& now, std::optional<WallTime> started) {
  MutexLock lock(mutex_);
  Kept& kept = kept_[group];
  if (!kept.newer) {
    kept.newer = now;
    bool young = started && now.at - *started < kStale;
    if (!young) return {};
    kept.older = CpuReading{*started, 0};
    return rate_between(*kept.older, now);
  }
  if (now.at - kept.newer->at >= kWindow) {
    kept.older = kept.newer;
    kept.newer = now;
    return rate_between(*kept.older, now);
  }
  return rate_between(kept.older ? *kept.older : *kept.newer, now);
}

bool CpuMeter::stale(const std::string& group, WallTime now) {
  MutexLock lock(mutex_);
  auto found = kept_.find(group);
  if (found != kept_.end() && found->second.newer && now - found->second.newer->at < kStale) return false;
  kept_.erase(group);
  return true;
}

void CpuMeter::keep_only(const std::set<std::string>& groups) {
  MutexLock lock(mutex_);
  std::erase_if(kept_, [&](const auto& entry) { return !groups.contains(entry.first); });
}

}  // namespace skiff::kubelet
