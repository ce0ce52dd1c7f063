#include "base/encoding.hpp"
#include "sys/cgroup.hpp"
#include "sys/cgroup_files.hpp"
#include "sys/device_program.hpp"

namespace skiff::sys {
namespace {

std::string or_max(std::int64_t number) { return number < 0 ? "max" : std::to_string(number); }

class CgroupV2 final : public CgroupTree {
 public:
  explicit CgroupV2(std::string root)
      : root_(std::move(root)), guards_devices_(load_device_program(device_program({}).value()).ok()) {}

  Status create(const std::string& group) override;
  Status set_limits(const std::string& group, const CgroupLimits& limits) override;
  Result<CgroupUsage> usage(const std::string& group) const override;
  std::uint64_t oom_kills(const std::string& group) const override {
    return read_keyed(file(group, "memory.events"), "oom_kill");
  }
  Status allow_devices(const std::string& group, const std::vector<std::string>& rules) override;
  std::vector<std::string> directories(const std::string& group) const override {
    return {root_ + "/" + group};
  }
  std::vector<std::string> mounts() const override { return {""}; }
  bool unified() const override { return true; }
  bool guards_devices() const override { return guards_devices_; }

 private:
  std::string file(const std::string& group, std::string_view name) const {
    return fmt::format("{}/{}/{}", root_, group, name);
  }
  static void delegate(const std::string& directory);

  std::string root_;
  const bool guards_devices_;
};

Status CgroupV2::allow_devices(const std::string& group, const std::vector<std::string>& rules) {
  if (!guards_devices_) return ok();
  TRY_ASSIGN(std::vector<std::uint64_t> text, device_program(rules));
  TRY_ASSIGN(UniqueFd program, load_device_program(text));
  return attach_device_program(root_ + "/" + group, program);
}

/// Hands the controllers down to the children of `directory`. One write each: a kernel without one of them
/// refuses the whole line.
void CgroupV2::delegate(const std::string& directory) {
  for (std::string_view controller : {"+cpu", "+memory", "+pids"})
    write_existing(directory + "/cgroup.subtree_control", controller);
}

Status CgroupV2::create(const std::string& group) {
  std::string directory = root_;
  for (const std::string& part : split(group, '/')) {
    if (part.empty()) continue;
    delegate(directory);
    directory += "/" + part;
    TRY(make_directory(directory));
  }
  return ok();
}

Status CgroupV2::set_limits(const std::string& group, const CgroupLimits& limits) {
  if (limits.cpu_shares)
    TRY(write_file(file(group, "cpu.weight"), std::to_string(cpu_weight_of_shares(*limits.cpu_shares))));
  if (limits.cpu_quota_us)
    TRY(write_file(file(group, "cpu.max"),
                   fmt::format("{} {}", or_max(*limits.cpu_quota_us), limits.cpu_period_us)));
  if (limits.memory_bytes) {
    TRY(write_file(file(group, "memory.max"), or_max(*limits.memory_bytes)));
    write_existing(file(group, "memory.swap.max"), *limits.memory_bytes < 0 ? "max" : "0");
  }
  if (limits.pids) TRY(write_file(file(group, "pids.max"), or_max(*limits.pids)));
  if (limits.kill_group_on_oom) write_existing(file(group, "memory.oom.group"), "1");
  return ok();
}

Result<CgroupUsage> CgroupV2::usage(const std::string& group) const {
  if (!CgroupTree::exists(group)) return error(Code::NotFound, "no cgroup '{}'", group);
  CgroupUsage usage;
  usage.cpu_ns = read_keyed(file(group, "cpu.stat"), "usage_usec") * 1000;
  usage.memory_bytes = read_number(file(group, "memory.current"));
  Result<std::string> memory = read_file(file(group, "memory.stat"));
  auto figure = [&](std::string_view key) { return memory.ok() ? keyed(memory.value(), key) : 0; };
  usage.working_set_bytes = working_set(usage.memory_bytes, figure("inactive_file"));
  usage.rss_bytes = figure("anon");
  usage.page_faults = figure("pgfault");
  usage.major_page_faults = figure("pgmajfault");
  usage.pids = read_number(file(group, "pids.current"));
  return usage;
}

}  // namespace

std::unique_ptr<CgroupTree> cgroup_v2(std::string root) {
  return std::make_unique<CgroupV2>(std::move(root));
}

}  // namespace skiff::sys
