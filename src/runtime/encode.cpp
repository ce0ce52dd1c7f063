#include "runtime/encode.hpp"

#include <charconv>

#include "base/encoding.hpp"

namespace skiff::runtime {
namespace {

using wire::Tag;

// The runtime's own labels: where a container's things are, for whoever removes it after a restart.
constexpr std::string_view kCgroupLabel = ".cgroup";
constexpr std::string_view kDirectoryLabel = ".directory";

void put(std::string& out, Tag tag, const std::string& text) { wire::put_text(out, tag, text.c_str()); }
void put_all(std::string& out, Tag tag, const std::vector<std::string>& texts) {
  for (const std::string& text : texts) put(out, tag, text);
}
void put_flag(std::string& out, Tag tag, bool flag) {
  if (flag) wire::put_number(out, tag, 1);
}
void put_labels(std::string& out, const Labels& labels) {
  for (const auto& [key, value] : labels) put(out, Tag::Label, key + "=" + value);
}

std::uint64_t number_of(Propagation propagation) {
  switch (propagation) {
    case Propagation::Private:
      return static_cast<std::uint64_t>(wire::Propagation::Private);
    case Propagation::HostToContainer:
      return static_cast<std::uint64_t>(wire::Propagation::Slave);
    case Propagation::Bidirectional:
      return static_cast<std::uint64_t>(wire::Propagation::Shared);
  }
  return 0;
}

void put_mount(std::string& out, const Mount& mount) {
  std::string nested;
  put(nested, Tag::Source, mount.source);
  if (mount.sub_path) put(nested, Tag::SubPath, *mount.sub_path);
  put(nested, Tag::Target, mount.target);
  put(nested, Tag::Type, mount.type);
  put(nested, Tag::Options, mount.options);
  put_flag(nested, Tag::ReadOnly, mount.read_only);
  put_flag(nested, Tag::RecursiveReadOnly, mount.recursive_read_only);
  wire::put_number(nested, Tag::Propagation, number_of(mount.propagation));
  wire::put(out, Tag::MountEntry, nested.data(), nested.size());
}

void put_device(std::string& out, const Device& device) {
  std::string nested;
  put(nested, Tag::Target, device.target);
  wire::put_number(nested, Tag::DeviceKind, device.block ? 'b' : 'c');
  wire::put_number(nested, Tag::DeviceMajor, device.major);
  wire::put_number(nested, Tag::DeviceMinor, device.minor);
  wire::put(out, Tag::Device, nested.data(), nested.size());
}

void put_process(std::string& out, const ProcessSpec& process) {
  put_all(out, Tag::Arg, process.arguments);
  put_all(out, Tag::Env, process.environment);
  put(out, Tag::WorkingDirectory, process.working_directory.empty() ? "/" : process.working_directory);
  put(out, Tag::User, process.user);
  if (process.group) wire::put_number(out, Tag::Gid, *process.group);
  for (gid_t group : process.supplementary_groups) wire::put_number(out, Tag::SupplementaryGroup, group);
  put_flag(out, Tag::StrictGroups, process.strict_groups);
  wire::put_number(out, Tag::Bounding, process.capabilities.bounding.bits);
  wire::put_number(out, Tag::Effective, process.capabilities.effective.bits);
  wire::put_number(out, Tag::Permitted, process.capabilities.permitted.bits);
  wire::put_number(out, Tag::Inheritable, process.capabilities.inheritable.bits);
  wire::put_number(out, Tag::Ambient, process.capabilities.ambient.bits);
  put_flag(out, Tag::NoNewPrivileges, process.no_new_privileges);
  if (!process.seccomp.empty()) wire::put(out, Tag::Seccomp, process.seccomp.data(), process.seccomp.size());
  if (process.oom_score_adj)
    wire::put_number(out, Tag::OomScoreAdj, static_cast<std::uint64_t>(std::int64_t{*process.oom_score_adj}));
  for (const ResourceLimit& limit : process.limits) {
    std::string nested;
    wire::put_number(nested, Tag::RlimitResource, static_cast<std::uint64_t>(limit.resource));
    wire::put_number(nested, Tag::RlimitSoft, limit.soft);
    wire::put_number(nested, Tag::RlimitHard, limit.hard);
    wire::put(out, Tag::Rlimit, nested.data(), nested.size());
  }
}

void take_label(ContainerStatus& container, std::string_view label) {
  size_t equals = label.find('=');
  std::string_view key = label.substr(0, equals), value = label.substr(equals + 1);
  if (key == kCgroupLabel)
    container.cgroup = value;
  else if (key == kDirectoryLabel)
    container.directory = value;
  else
    container.labels.emplace(key, value);
}

}  // namespace

std::optional<ProcessIdentity> parse_identity(std::string_view text) {
  std::vector<std::int64_t> numbers;
  for (const std::string& word : split(text, ' ')) {
    std::int64_t number = 0;
    if (std::from_chars(word.data(), word.data() + word.size(), number).ec == std::errc()) numbers.push_back(number);
  }
  if (numbers.size() < 2) return std::nullopt;
  return ProcessIdentity{numbers[0], numbers[1], {numbers.begin() + 2, numbers.end()}};
}

namespace {

SandboxStatus decode_sandbox(wire::FieldReader reader) {
  SandboxStatus sandbox;
  for (wire::Field field; reader.next(field);) {
    if (field.tag == Tag::Id) sandbox.id = field.text();
    if (field.tag != Tag::Label) continue;
    std::string_view label = field.text();
    size_t equals = label.find('=');
    sandbox.labels.emplace(label.substr(0, equals), label.substr(equals + 1));
  }
  return sandbox;
}

}  // namespace

std::string encode(const SandboxSpec& spec) {
  std::string out;
  put(out, Tag::Id, spec.id);
  put_labels(out, spec.labels);
  put(out, Tag::Hostname, spec.hostname);
  put_all(out, Tag::Sysctl, spec.sysctls);
  put_flag(out, Tag::HostNetwork, spec.host_network);
  put_flag(out, Tag::HostIpc, spec.host_ipc);
  put_flag(out, Tag::SharedPids, spec.shared_pids);
  put(out, Tag::SharedMemory, spec.shared_memory);
  wire::put_number(out, Tag::SharedMemorySize, spec.shared_memory_bytes);
  if (spec.first_id) wire::put_number(out, Tag::FirstId, *spec.first_id);
  return out;
}

std::string encode(const NodeMount& mount) {
  std::string out;
  put(out, Tag::Source, mount.source);
  put(out, Tag::Target, mount.target);
  put(out, Tag::Type, mount.type);
  put(out, Tag::Options, mount.options);
  put_all(out, Tag::Lower, mount.layers);
  put_flag(out, Tag::ReadOnly, mount.read_only);
  return out;
}

std::string encode(const ContainerSpec& spec, const sys::CgroupTree& cgroups) {
  std::string out;
  put(out, Tag::Id, spec.id);
  put(out, Tag::SandboxId, spec.sandbox);
  Labels labels = spec.labels;
  labels.emplace(kCgroupLabel, spec.cgroup);
  labels.emplace(kDirectoryLabel, spec.directory);
  put_labels(out, labels);
  put(out, Tag::RootDirectory, spec.directory + "/root");
  put_all(out, Tag::Lower, spec.layers);
  put(out, Tag::Upper, spec.directory + "/upper");
  put(out, Tag::Work, spec.directory + "/work");
  put_flag(out, Tag::ReadOnlyRoot, spec.read_only_root);
  put_flag(out, Tag::Privileged, spec.privileged);
  put_flag(out, Tag::SysReadWrite, spec.privileged);
  put_flag(out, Tag::HostPids, spec.host_pids);
  if (!spec.pids_of.empty()) put(out, Tag::PidsOf, spec.pids_of);
  put_flag(out, Tag::Tty, spec.tty);
  put_flag(out, Tag::Stdin, spec.wants_stdin);
  for (const Mount& mount : spec.mounts) put_mount(out, mount);
  for (const Device& device : spec.devices) put_device(out, device);
  put_all(out, Tag::MaskedPath, spec.masked_paths);
  put_all(out, Tag::ReadOnlyPath, spec.read_only_paths);
  if (!spec.cgroup.empty()) {
    put_all(out, Tag::CgroupDirectory, cgroups.directories(spec.cgroup));
    put_all(out, Tag::CgroupMount, cgroups.mounts());
  }
  put(out, Tag::LogPath, spec.log_path);
  wire::put_number(out, Tag::LogMaxBytes, spec.log_max_bytes);
  wire::put_number(out, Tag::LogMaxFiles, static_cast<std::uint64_t>(spec.log_max_files));
  put_process(out, spec.process);
  return out;
}

ContainerStatus decode_container(wire::FieldReader reader) {
  ContainerStatus container;
  for (wire::Field field; reader.next(field);) {
    switch (field.tag) {
      case Tag::Id:
        container.id = field.text();
        break;
      case Tag::SandboxId:
        container.sandbox = field.text();
        break;
      case Tag::LogPath:
        container.log_path = field.text();
        break;
      case Tag::State:
        container.state = static_cast<ContainerState>(field.number());
        break;
      case Tag::ExitCode:
        container.exit_code = static_cast<int>(field.number());
        break;
      case Tag::Signal:
        container.signal = static_cast<int>(field.number());
        break;
      case Tag::StartedAt:
        container.started_at = wall_time(field.number());
        break;
      case Tag::FinishedAt:
        container.finished_at = wall_time(field.number());
        break;
      case Tag::Identity:
        container.identity = parse_identity(field.text());
        break;
      case Tag::Label:
        take_label(container, field.text());
        break;
      default:
        break;
    }
  }
  return container;
}

NodeContents decode_list(const Reply& reply) {
  NodeContents contents;
  wire::FieldReader reader = reply.reader();
  for (wire::Field field; reader.next(field);) {
    if (field.tag == Tag::Sandbox) contents.sandboxes.push_back(decode_sandbox(wire::FieldReader(field)));
    if (field.tag == Tag::Container)
      contents.containers.push_back(decode_container(wire::FieldReader(field)));
  }
  return contents;
}

std::string text_field(Tag tag, const std::string& text) {
  std::string out;
  put(out, tag, text);
  return out;
}

std::string with_number(std::string fields, Tag tag, std::uint64_t number) {
  wire::put_number(fields, tag, number);
  return fields;
}

std::uint64_t number_in(const Reply& reply, Tag tag) {
  wire::FieldReader reader = reply.reader();
  for (wire::Field field; reader.next(field);)
    if (field.tag == tag) return field.number();
  return 0;
}

WallTime wall_time(std::uint64_t nanoseconds) {
  return WallTime(std::chrono::duration_cast<WallTime::duration>(std::chrono::nanoseconds(nanoseconds)));
}

}  // namespace skiff::runtime
