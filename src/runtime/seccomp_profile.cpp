// Profiles that a user wrote, in the JSON form of Docker and the OCI runtimes.

#include <errno.h>
#include <seccomp.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "runtime/seccomp.hpp"
#include "runtime/seccomp_export.hpp"

namespace skiff::runtime {
namespace {

using nlohmann::json;

using Filter = std::unique_ptr<void, void (*)(scmp_filter_ctx)>;

Result<std::uint32_t> action_of(const std::string& name, std::uint32_t errno_return) {
  static const std::map<std::string, std::uint32_t> actions = {
      {"SCMP_ACT_KILL", SCMP_ACT_KILL},   {"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
      {"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
      {"SCMP_ACT_TRAP", SCMP_ACT_TRAP},   {"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(errno_return & 0xffff)},
      {"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW}, {"SCMP_ACT_LOG", SCMP_ACT_LOG}};
  auto found = actions.find(name);
  if (found == actions.end()) return error(Code::Invalid, "string {} is not a valid action for seccomp", name);
  return found->second;
}

Result<scmp_compare> operator_of(const std::string& name) {
  static const std::map<std::string, scmp_compare> operators = {
      {"SCMP_CMP_NE", SCMP_CMP_NE}, {"SCMP_CMP_LT", SCMP_CMP_LT}, {"SCMP_CMP_LE", SCMP_CMP_LE},
      {"SCMP_CMP_EQ", SCMP_CMP_EQ}, {"SCMP_CMP_GE", SCMP_CMP_GE}, {"SCMP_CMP_GT", SCMP_CMP_GT},
      {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};
  auto found = operators.find(name);
  if (found == operators.end()) return error(Code::Invalid, "string {} is not a valid operator for seccomp", name);
  return found->second;
}

std::uint32_t architecture_of(const std::string& name) {
  static const std::map<std::string, std::uint32_t> known = {
      {"SCMP_ARCH_X86", SCMP_ARCH_X86},         {"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64},
      {"SCMP_ARCH_X32", SCMP_ARCH_X32},         {"SCMP_ARCH_ARM", SCMP_ARCH_ARM},
      {"SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64}, {"SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64}};
  auto found = known.find(name);
  return found == known.end() ? 0 : found->second;
}

Status check(int result, std::string_view doing) {
  if (result == 0 || result == -EEXIST) return ok();
  return errno_error(-result, "seccomp {}", doing);
}

bool is_native(const std::string& name) {
  std::uint32_t token = architecture_of(name);
  std::uint32_t native = seccomp_arch_native();
  bool intel = native == SCMP_ARCH_X86_64 && (token == SCMP_ARCH_X86 || token == SCMP_ARCH_X32);
  bool arm = native == SCMP_ARCH_AARCH64 && token == SCMP_ARCH_ARM;
  return token != 0 && (token == native || intel || arm);
}

/// Architectures of this machine that the profile names, directly or in the map.
Status add_architectures(const Filter& filter, const json& profile) {
  std::vector<std::string> names = profile.value("architectures", std::vector<std::string>());
  for (const json& entry : profile.value("archMap", json::array())) {
    names.push_back(entry.value("architecture", ""));
    for (const std::string& more : entry.value("subArchitectures", std::vector<std::string>())) names.push_back(more);
  }
  for (const std::string& name : names)
    if (is_native(name)) TRY(check(seccomp_arch_add(filter.get(), architecture_of(name)), name));
  return ok();
}

Result<std::vector<scmp_arg_cmp>> arguments_of(const json& rule) {
  std::vector<scmp_arg_cmp> arguments;
  auto list = rule.find("args");
  if (list == rule.end() || !list->is_array()) return arguments;
  for (const json& entry : *list) {
    TRY_ASSIGN(scmp_compare compare, operator_of(entry.value("op", "")));
    arguments.push_back({entry.value("index", 0U), compare, entry.value("value", std::uint64_t{0}),
                         entry.value("valueTwo", std::uint64_t{0})});
  }
  return arguments;
}

/// Docker's profiles have rules for some capabilities only.
bool applies(const json& rule, CapabilitySet capabilities) {
  auto caps = [&](const char* side) {
    auto list = rule.find(side);
    if (list == rule.end() || !list->is_object()) return std::vector<std::string>();
    return list->value("caps", std::vector<std::string>());
  };
  auto has = [&](const std::string& name) {
    std::optional<int> number = capability_number(name);
    return number && capabilities.has(*number);
  };
  std::vector<std::string> includes = caps("includes"), excludes = caps("excludes");
  return std::ranges::all_of(includes, has) && std::ranges::none_of(excludes, has);
}

Status add_rule(const Filter& filter, const json& rule, std::uint32_t default_action) {
  TRY_ASSIGN(std::uint32_t action, action_of(rule.value("action", ""), rule.value("errnoRet", std::uint32_t{EPERM})));
  if (action == default_action) return ok();
  TRY_ASSIGN(std::vector<scmp_arg_cmp> arguments, arguments_of(rule));
  std::vector<std::string> names = rule.value("names", std::vector<std::string>());
  if (rule.contains("name")) names.push_back(rule.value("name", ""));
  for (const std::string& name : names) {
    int call = seccomp_syscall_resolve_name(name.c_str());
    if (call == __NR_SCMP_ERROR) continue;  // of another kernel or architecture
    TRY(check(seccomp_rule_add_array(filter.get(), action, call, static_cast<unsigned>(arguments.size()),
                                     arguments.data()),
              name));
  }
  return ok();
}

Result<std::string> compile(const json& profile, CapabilitySet capabilities) {
  std::uint32_t errno_return = profile.value("defaultErrnoRet", std::uint32_t{EPERM});
  TRY_ASSIGN(std::uint32_t action, action_of(profile.value("defaultAction", ""), errno_return));
  Filter filter(seccomp_init(action), seccomp_release);
  if (!filter) return error(Code::Internal, "seccomp_init failed");
  // Without no-new-privileges it is installed by root; the bit is not the filter's business.
  TRY(check(seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_NNP, 0), "attributes"));
  TRY(add_architectures(filter, profile));
  for (const json& rule : profile.value("syscalls", json::array()))
    if (applies(rule, capabilities)) TRY(add_rule(filter, rule, action));
  return export_seccomp(filter.get());
}

}  // namespace

Result<std::string> seccomp_from_profile(std::string_view text, CapabilitySet capabilities) {
  try {
    json profile = json::parse(text);
    if (!profile.is_object()) return error(Code::Invalid, "the profile is not a JSON object");
    return compile(profile, capabilities);
  } catch (const json::exception& problem) {  // a member of another type than it should be, or no JSON at all
    return error(Code::Invalid, "decoding seccomp profile failed: {}", problem.what());
  }
}

}  // namespace skiff::runtime
