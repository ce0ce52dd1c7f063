#pragma once
// The protocol between skiff (src/runtime) and skiff-init (src/runtime/init): the only header the two share.
// It uses nothing but the C library.
//
// A frame is a Header and `size` bytes of fields; descriptors of a frame travel with its first byte
// (SCM_RIGHTS). A field is {tag, size, bytes}: a text (with its final NUL, so that a reader can use it in
// place), a number (8 bytes) or again fields. Both sides skip tags they do not know. Requests carry an id
// that the reply repeats; events have id 0. Numbers are in the machine's order: both ends run on one machine.

#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace skiff::wire {

constexpr uint32_t kVersion = 1;            // raised when an old reader would misunderstand a new writer
constexpr uint32_t kMaxPayload = 4U << 20;  // a frame larger than this is a protocol error
constexpr size_t kMaxFds = 8;
constexpr const char* kSocketName = "init.sock";

enum class Op : uint16_t {
  // request                -> reply fields (descriptors)
  Hello = 1,        // -> Version, Pid (node's root directory, node's network namespace)
  CreateSandbox,    // Sandbox fields -> (network namespace)
  RemoveSandbox,    // Id; its containers must have ended
  SandboxNetwork,   // Id -> (network namespace)
  RunContainer,     // Container fields -> Pid, StartedAt, Warning...
  SignalContainer,  // Id, Signal; an ended container is fine
  RemoveContainer,  // Id; must have ended. An unknown one is fine
  List,             // -> Sandbox..., Container... (each nested)
  Exec,             // Id, Arg..., Tty, Stdin -> ExecId, Warning... (stdin?, stdout, stderr | terminal)
  ResizeContainer,  // Id, Rows, Columns
  Attach,           // Id -> (stdin or terminal if there is one, stdout, stderr?)
  CloseStdin,       // Id
  ReopenLog,        // Id
  Mount,            // Source, Target, Type, Options, Lower... (overlay), ReadOnly, in the node's mount namespace
  Unmount,          // Target; detaches, a target without mount is fine
  SignalExec,       // ExecId, Signal

  Reply = 100,            // Error, Errno when it failed
  ContainerExited = 200,  // event: the fields of one Container
  ExecExited,             // event: ExecId, ExitCode
};

enum class Tag : uint16_t {
  // replies and states
  Error = 1,
  Errno,
  Warning,
  Version,
  Pid,
  State,
  ExitCode,
  StartedAt,
  FinishedAt,
  Signal,
  Sandbox,
  Container,
  ExecId,
  Rows,
  Columns,
  Label,
  // sandbox
  Id = 40,
  Hostname,
  Sysctl,
  HostNetwork,
  HostIpc,
  SharedPids,
  SharedMemory /* path to mount its /dev/shm at */,
  SharedMemorySize,
  FirstId /* the pod has a user namespace: its ids 0..65535 are these of the host */,
  // container
  SandboxId = 60,
  RootDirectory,
  Lower,
  Upper,
  Work,
  ReadOnlyRoot,
  MountEntry,
  MaskedPath,
  ReadOnlyPath,
  CgroupDirectory,
  CgroupMount,
  Privileged,
  LogPath,
  LogMaxBytes,
  LogMaxFiles,
  Stdin,
  HostPids,
  SysReadWrite,
  Device,
  PidsOf /* a running container whose PID namespace is shared */,
  // one mount
  Source = 90,
  SubPath,
  Target,
  Type,
  Options,
  ReadOnly,
  RecursiveReadOnly,
  Propagation,
  // one device (with Target)
  DeviceKind /* 'b' or 'c' */,
  DeviceMajor,
  DeviceMinor,
  // process
  Arg = 110,
  Env,
  WorkingDirectory,
  User,
  Gid,
  SupplementaryGroup,
  Bounding,
  Effective,
  Permitted,
  Inheritable,
  Ambient,
  NoNewPrivileges,
  Seccomp,
  Tty,
  OomScoreAdj,
  StrictGroups /* none from the image's /etc/group */,
  Identity /* reply: "uid gid group..." of the first process */,
  Rlimit,
  RlimitResource,
  RlimitSoft,
  RlimitHard,
};

enum class State : uint8_t { Starting, Running, Exited };
enum class Propagation : uint8_t { Private, Slave, Shared };

struct Header {
  uint32_t size;
  Op op;
  uint16_t fds;
  uint64_t id;
};

struct FieldHead {
  Tag tag;
  uint16_t reserved;
  uint32_t size;
};

struct Field {
  Tag tag;
  const char* data;
  uint32_t size;

  /// 0 when the field is not a number.
  uint64_t number() const {
    uint64_t value = 0;
    if (size == sizeof value) memcpy(&value, data, sizeof value);
    return value;
  }
  /// "" when the field is not a text.
  const char* text() const { return size > 0 && data[size - 1] == '\0' ? data : ""; }
};

class FieldReader {
 public:
  FieldReader(const char* data, size_t size) : at_(data), end_(data + size) {}
  explicit FieldReader(const Field& nested) : FieldReader(nested.data, nested.size) {}

  bool next(Field& field) {
    FieldHead head;
    if (static_cast<size_t>(end_ - at_) < sizeof head) return false;
    memcpy(&head, at_, sizeof head);
    if (static_cast<size_t>(end_ - at_) - sizeof head < head.size) return false;
    field = {head.tag, at_ + sizeof head, head.size};
    at_ += sizeof head + head.size;
    return true;
  }

 private:
  const char* at_;
  const char* end_;
};

/// `Sink` has append(const char*, size_t).
template <class Sink>
void put(Sink& sink, Tag tag, const void* data, size_t size) {
  FieldHead head{tag, 0, static_cast<uint32_t>(size)};
  sink.append(reinterpret_cast<const char*>(&head), sizeof head);
  sink.append(static_cast<const char*>(data), size);
}

template <class Sink>
void put_text(Sink& sink, Tag tag, const char* text) {
  put(sink, tag, text, strlen(text) + 1);
}

template <class Sink>
void put_number(Sink& sink, Tag tag, uint64_t number) {
  put(sink, tag, &number, sizeof number);
}

}  // namespace skiff::wire
