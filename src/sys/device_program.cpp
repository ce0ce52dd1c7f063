#include "sys/device_program.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>

#include "sys/files.hpp"

namespace skiff::sys {
namespace {

struct Rule {
  std::uint32_t type = 0;  // 0: both
  std::uint32_t access = 0;
  std::int64_t major = -1, minor = -1;  // -1: any
};

Result<std::int64_t> number_of(std::string_view text) {
  if (text == "*") return std::int64_t{-1};
  std::int64_t number = 0;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc() || end != text.data() + text.size())
    return error(Code::Invalid, "device rule: '{}' is no number", text);
  return number;
}

Result<Rule> parse_rule(std::string_view text) {
  constexpr std::uint32_t all = BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE;
  Rule rule;
  if (text == "a") return Rule{0, all, -1, -1};
  size_t colon = text.find(':'), space = text.rfind(' ');
  if (text.size() < 5 || text[1] != ' ' || colon == text.npos || space < colon || (text[0] != 'b' && text[0] != 'c'))
    return error(Code::Invalid, "no device rule: '{}'", text);
  rule.type = text[0] == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR;
  TRY_ASSIGN(rule.major, number_of(text.substr(2, colon - 2)));
  TRY_ASSIGN(rule.minor, number_of(text.substr(colon + 1, space - colon - 1)));
  for (char c : text.substr(space + 1)) {
    if (c == 'r') rule.access |= BPF_DEVCG_ACC_READ;
    if (c == 'w') rule.access |= BPF_DEVCG_ACC_WRITE;
    if (c == 'm') rule.access |= BPF_DEVCG_ACC_MKNOD;
  }
  return rule;
}

std::uint64_t instruction(std::uint8_t code, std::uint8_t to, std::uint8_t from, std::int16_t offset, std::int32_t value) {
  bpf_insn insn{};
  insn.code = code;
  insn.dst_reg = to & 0xfU;
  insn.src_reg = from & 0xfU;
  insn.off = offset;
  insn.imm = value;
  std::uint64_t bytes = 0;
  static_assert(sizeof insn == sizeof bytes);
  memcpy(&bytes, &insn, sizeof bytes);
  return bytes;
}

std::uint64_t load_field(std::uint8_t to, std::int16_t offset) {
  return instruction(BPF_LDX | BPF_MEM | BPF_W, to, BPF_REG_1, offset, 0);
}
std::uint64_t set(std::uint8_t to, std::int32_t value) { return instruction(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value); }

// Registers: 2 type, 3 access, 4 major, 5 minor, 6 scratch.
void append_rule(const Rule& rule, std::vector<std::uint64_t>& program) {
  struct Test {
    std::uint8_t reg;
    std::int32_t value;
  };
  std::vector<Test> tests;
  if (rule.type != 0) tests.push_back({BPF_REG_2, static_cast<std::int32_t>(rule.type)});
  if (rule.major >= 0) tests.push_back({BPF_REG_4, static_cast<std::int32_t>(rule.major)});
  if (rule.minor >= 0) tests.push_back({BPF_REG_5, static_cast<std::int32_t>(rule.minor)});
  // Behind the tests: three instructions for the access, two for the verdict.
  auto left = static_cast<std::int16_t>(tests.size() + 3 + 2);
  for (const Test& test : tests)
    program.push_back(instruction(BPF_JMP | BPF_JNE | BPF_K, test.reg, 0, static_cast<std::int16_t>(--left), test.value));
  // What is wanted and the rule does not have.
  program.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_6, BPF_REG_3, 0, 0));
  program.push_back(
      instruction(BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_6, 0, 0, static_cast<std::int32_t>(~rule.access & 0xffffU)));
  program.push_back(instruction(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_6, 0, 2, 0));
  program.push_back(set(BPF_REG_0, 1));
  program.push_back(instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
}

long bpf(int command, bpf_attr& attributes) { return ::syscall(SYS_bpf, command, &attributes, sizeof attributes); }

}  // namespace

Result<std::vector<std::uint64_t>> device_program(const std::vector<std::string>& rules) {
  std::vector<std::uint64_t> program = {
      load_field(BPF_REG_2, 0),
      instruction(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0),
      instruction(BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff),
      instruction(BPF_ALU64 | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16),
      load_field(BPF_REG_4, 4),
      load_field(BPF_REG_5, 8),
  };
  for (const std::string& text : rules) {
    TRY_ASSIGN(Rule rule, parse_rule(text));
    append_rule(rule, program);
  }
  program.push_back(set(BPF_REG_0, 0));
  program.push_back(instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
  return program;
}

Result<UniqueFd> load_device_program(const std::vector<std::uint64_t>& program) {
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attributes.insns = reinterpret_cast<std::uintptr_t>(program.data());
  attributes.insn_cnt = static_cast<std::uint32_t>(program.size());
  attributes.license = reinterpret_cast<std::uintptr_t>("Apache");
  long fd = bpf(BPF_PROG_LOAD, attributes);
  if (fd < 0) return errno_error(errno, "load the device program");
  return UniqueFd(static_cast<int>(fd));
}

Status attach_device_program(const std::string& group_directory, const UniqueFd& program) {
  TRY_ASSIGN(UniqueFd group, open(group_directory, O_RDONLY | O_DIRECTORY));
  bpf_attr attributes{};
  attributes.target_fd = static_cast<std::uint32_t>(group.get());
  attributes.attach_bpf_fd = static_cast<std::uint32_t>(program.get());
  attributes.attach_type = BPF_CGROUP_DEVICE;
  if (bpf(BPF_PROG_ATTACH, attributes) < 0) return errno_error(errno, "attach the device program to '{}'", group_directory);
  return ok();
}

}  // namespace skiff::sys
