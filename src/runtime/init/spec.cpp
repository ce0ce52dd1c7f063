#include "spec.hpp"

namespace skiff::init {
namespace {

using wire::Field;
using wire::FieldReader;
using wire::Tag;

MountSpec parse_mount(const Field& entry) {
  MountSpec mount;
  FieldReader reader(entry);
  for (Field field; reader.next(field);) {
    switch (field.tag) {
      case Tag::Source:
        mount.source = field.text();
        break;
      case Tag::SubPath:
        mount.sub_path = field.text();
        break;
      case Tag::Target:
        mount.target = field.text();
        break;
      case Tag::Type:
        mount.type = field.text();
        break;
      case Tag::Options:
        mount.options = field.text();
        break;
      case Tag::ReadOnly:
        mount.read_only = field.number() != 0;
        break;
      case Tag::RecursiveReadOnly:
        mount.recursive_read_only = field.number() != 0;
        break;
      case Tag::Propagation:
        mount.propagation = static_cast<wire::Propagation>(field.number());
        break;
      default:
        break;
    }
  }
  return mount;
}

DeviceSpec parse_device(const Field& entry) {
  DeviceSpec device;
  FieldReader reader(entry);
  for (Field field; reader.next(field);) {
    if (field.tag == Tag::Target) device.target = field.text();
    if (field.tag == Tag::DeviceKind) device.block = field.number() == 'b';
    if (field.tag == Tag::DeviceMajor) device.major = static_cast<unsigned>(field.number());
    if (field.tag == Tag::DeviceMinor) device.minor = static_cast<unsigned>(field.number());
  }
  return device;
}

LimitSpec parse_limit(const Field& entry) {
  LimitSpec limit;
  FieldReader reader(entry);
  for (Field field; reader.next(field);) {
    if (field.tag == Tag::RlimitResource) limit.resource = static_cast<int>(field.number());
    if (field.tag == Tag::RlimitSoft) limit.soft = field.number();
    if (field.tag == Tag::RlimitHard) limit.hard = field.number();
  }
  return limit;
}

void parse_process_field(ProcessSpec& process, const Field& field) {
  switch (field.tag) {
    case Tag::Arg:
      process.arguments.push(field.text());
      break;
    case Tag::Env:
      process.environment.push(field.text());
      break;
    case Tag::WorkingDirectory:
      process.directory = field.text();
      break;
    case Tag::User:
      process.user = field.text();
      break;
    case Tag::Gid:
      process.gid = static_cast<int64_t>(field.number());
      break;
    case Tag::SupplementaryGroup:
      process.groups.push(static_cast<uint32_t>(field.number()));
      break;
    case Tag::StrictGroups:
      process.strict_groups = field.number() != 0;
      break;
    case Tag::Bounding:
      process.capabilities.bounding = field.number();
      break;
    case Tag::Effective:
      process.capabilities.effective = field.number();
      break;
    case Tag::Permitted:
      process.capabilities.permitted = field.number();
      break;
    case Tag::Inheritable:
      process.capabilities.inheritable = field.number();
      break;
    case Tag::Ambient:
      process.capabilities.ambient = field.number();
      break;
    case Tag::NoNewPrivileges:
      process.no_new_privileges = field.number() != 0;
      break;
    case Tag::Seccomp:
      process.seccomp = field.data, process.seccomp_size = field.size;
      break;
    case Tag::OomScoreAdj:
      process.has_oom_score = true;
      process.oom_score = static_cast<int64_t>(field.number());
      break;
    case Tag::Rlimit:
      process.limits.push(parse_limit(field));
      break;
    default:
      break;
  }
}

void parse_container_field(ContainerSpec& spec, const Field& field) {
  switch (field.tag) {
    case Tag::Id:
      spec.id = field.text();
      break;
    case Tag::SandboxId:
      spec.sandbox = field.text();
      break;
    case Tag::RootDirectory:
      spec.root = field.text();
      break;
    case Tag::Lower:
      spec.lower.push(field.text());
      break;
    case Tag::Upper:
      spec.upper = field.text();
      break;
    case Tag::Work:
      spec.work = field.text();
      break;
    case Tag::ReadOnlyRoot:
      spec.read_only_root = field.number() != 0;
      break;
    case Tag::Privileged:
      spec.privileged = field.number() != 0;
      break;
    case Tag::SysReadWrite:
      spec.sys_read_write = field.number() != 0;
      break;
    case Tag::HostPids:
      spec.host_pids = field.number() != 0;
      break;
    case Tag::PidsOf:
      spec.pids_of = field.text();
      break;
    case Tag::Tty:
      spec.tty = field.number() != 0;
      break;
    case Tag::Stdin:
      spec.wants_stdin = field.number() != 0;
      break;
    case Tag::MountEntry:
      spec.mounts.push(parse_mount(field));
      break;
    case Tag::Device:
      spec.devices.push(parse_device(field));
      break;
    case Tag::MaskedPath:
      spec.masked_paths.push(field.text());
      break;
    case Tag::ReadOnlyPath:
      spec.read_only_paths.push(field.text());
      break;
    case Tag::CgroupDirectory:
      spec.cgroup_directories.push(field.text());
      break;
    case Tag::CgroupMount:
      spec.cgroup_mounts.push(field.text());
      break;
    case Tag::LogPath:
      spec.log_path = field.text();
      break;
    case Tag::LogMaxBytes:
      spec.log_max_bytes = field.number();
      break;
    case Tag::LogMaxFiles:
      spec.log_max_files = field.number();
      break;
    default:
      parse_process_field(spec.process, field);
      break;
  }
}

}  // namespace

void parse_container(ContainerSpec& spec, Buffer fields) {
  spec.fields = static_cast<Buffer&&>(fields);
  FieldReader reader(spec.fields.data(), spec.fields.size());
  for (Field field; reader.next(field);) parse_container_field(spec, field);
}

void parse_exec(ExecSpec& spec, Buffer fields) {
  spec.fields = static_cast<Buffer&&>(fields);
  FieldReader reader(spec.fields.data(), spec.fields.size());
  for (Field field; reader.next(field);) {
    if (field.tag == Tag::Id) spec.id = field.text();
    if (field.tag == Tag::Arg) spec.arguments.push(field.text());
    if (field.tag == Tag::Tty) spec.tty = field.number() != 0;
    if (field.tag == Tag::Stdin) spec.wants_stdin = field.number() != 0;
  }
}

}  // namespace skiff::init
