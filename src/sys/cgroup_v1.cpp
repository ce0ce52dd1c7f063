#include <limits.h>
#include <stdlib.h>

#include <algorithm>

#include "sys/cgroup.hpp"
#include "sys/cgroup_files.hpp"

namespace skiff::sys {
namespace {

class CgroupV1 final : public CgroupTree {
 public:
  explicit CgroupV1(std::string root);

  Status create(const std::string& group) override;
  Status set_limits(const std::string& group, const CgroupLimits& limits) override;
  Result<CgroupUsage> usage(const std::string& group) const override;
  std::uint64_t oom_kills(const std::string& group) const override;
  Status allow_devices(const std::string& group, const std::vector<std::string>& rules) override;
  std::vector<std::string> directories(const std::string& group) const override;
  std::vector<std::string> mounts() const override { return folders_; }
  bool unified() const override { return false; }
  bool guards_devices() const override { return std::ranges::find(folders_, "devices") != folders_.end(); }

 private:
  std::string file(std::string_view controller, const std::string& group, std::string_view name) const {
    return fmt::format("{}/{}/{}/{}", root_, controller, group, name);
  }
  Status set_memory(const std::string& group, std::int64_t bytes);

  std::string root_;
  std::vector<std::string> folders_;  // real folder names; "cpu,cpuacct" stands once
};

CgroupV1::CgroupV1(std::string root) : root_(std::move(root)) {
  // cpuset, freezer and blkio are left alone: no limit of ours lives there, and joining costs time.
  for (std::string_view controller : {"memory", "cpu", "cpuacct", "pids", "devices"}) {
    char real[PATH_MAX];
    if (::realpath(fmt::format("{}/{}", root_, controller).c_str(), real) == nullptr) continue;
    std::string folder(std::string_view(real).substr(std::string_view(real).rfind('/') + 1));
    if (std::ranges::find(folders_, folder) == folders_.end()) folders_.push_back(folder);
  }
}

Status CgroupV1::create(const std::string& group) {
  for (const std::string& directory : directories(group)) TRY(make_directories(directory));
  return ok();
}

Status CgroupV1::set_memory(const std::string& group, std::int64_t bytes) {
  std::string limit = std::to_string(bytes);
  std::string memory = file("memory", group, "memory.limit_in_bytes");
  std::string with_swap = file("memory", group, "memory.memsw.limit_in_bytes");
  // The kernel keeps limit <= memsw at every moment, so which one goes first depends on the direction.
  write_existing(with_swap, limit);
  TRY(write_file(memory, limit));
  write_existing(with_swap, limit);
  return ok();
}

Status CgroupV1::set_limits(const std::string& group, const CgroupLimits& limits) {
  if (limits.cpu_shares)
    TRY(write_file(file("cpu", group, "cpu.shares"),
                   std::to_string(std::max<std::uint64_t>(*limits.cpu_shares, 2))));
  if (limits.cpu_quota_us) {
    TRY(write_file(file("cpu", group, "cpu.cfs_period_us"), std::to_string(limits.cpu_period_us)));
    TRY(write_file(file("cpu", group, "cpu.cfs_quota_us"), std::to_string(*limits.cpu_quota_us)));
  }
  if (limits.memory_bytes) TRY(set_memory(group, *limits.memory_bytes));
  if (limits.pids)
    TRY(write_file(file("pids", group, "pids.max"), *limits.pids < 0 ? "max" : std::to_string(*limits.pids)));
  return ok();
}

Result<CgroupUsage> CgroupV1::usage(const std::string& group) const {
  if (!CgroupTree::exists(group)) return error(Code::NotFound, "no cgroup '{}'", group);
  CgroupUsage usage;
  usage.cpu_ns = read_number(file("cpuacct", group, "cpuacct.usage"));
  usage.memory_bytes = read_number(file("memory", group, "memory.usage_in_bytes"));
  Result<std::string> memory = read_file(file("memory", group, "memory.stat"));
  auto figure = [&](std::string_view key) { return memory.ok() ? keyed(memory.value(), key) : 0; };
  usage.working_set_bytes = working_set(usage.memory_bytes, figure("total_inactive_file"));
  usage.rss_bytes = figure("total_rss");
  usage.page_faults = figure("total_pgfault");
  usage.major_page_faults = figure("total_pgmajfault");
  usage.pids = read_number(file("pids", group, "pids.current"));
  return usage;
}

std::uint64_t CgroupV1::oom_kills(const std::string& group) const {
  return read_keyed(file("memory", group, "memory.oom_control"), "oom_kill");
}

Status CgroupV1::allow_devices(const std::string& group, const std::vector<std::string>& rules) {
  TRY(write_file(file("devices", group, "devices.deny"), "a"));
  for (const std::string& rule : rules) TRY(write_file(file("devices", group, "devices.allow"), rule));
  return ok();
}

std::vector<std::string> CgroupV1::directories(const std::string& group) const {
  std::vector<std::string> all;
  for (const std::string& folder : folders_) all.push_back(fmt::format("{}/{}/{}", root_, folder, group));
  return all;
}

}  // namespace

std::unique_ptr<CgroupTree> cgroup_v1(std::string root) {
  return std::make_unique<CgroupV1>(std::move(root));
}

}  // namespace skiff::sys
