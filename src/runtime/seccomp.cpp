// A container may use what the table below lists; with extra capabilities also what those are for. The lists
// follow the profile that containerd and Docker ship, so that an image behaves here as it does there.

#include "runtime/seccomp.hpp"
#include "runtime/seccomp_export.hpp"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <memory>
#include <vector>

#include "base/encoding.hpp"
#include "sys/files.hpp"

namespace skiff::runtime {
namespace {

constexpr std::string_view kAllowed =
    // files and directories
    "access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat "
    "faccessat2 "
    "fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchown fchown32 fchownat fcntl fcntl64 "
    "fdatasync "
    "fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync "
    "ftruncate "
    "ftruncate64 futimesat getcwd getdents getdents64 getxattr inotify_add_watch inotify_init inotify_init1 "
    "inotify_rm_watch fanotify_mark ioctl lchown lchown32 lgetxattr link linkat listxattr llistxattr _llseek "
    "lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat "
    "open openat "
    "openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat "
    "readv "
    "removexattr rename renameat renameat2 rmdir sendfile sendfile64 setxattr splice stat stat64 statfs "
    "statfs64 "
    "statx symlink symlinkat sync sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime "
    "utimensat "
    "utimensat_time64 utimes vmsplice write writev "
    // memory
    "brk madvise membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect "
    "mremap msync "
    "munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages "
    // processes, threads and ids
    "capget capset execve execveat exit exit_group fork futex futex_time64 futex_waitv get_robust_list "
    "get_thread_area getcpu getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 "
    "getpgid getpgrp "
    "getpid getppid getpriority getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid "
    "gettid getuid "
    "getuid32 ioprio_get ioprio_set landlock_add_rule landlock_create_ruleset landlock_restrict_self pause "
    "pidfd_open "
    "pidfd_send_signal prctl prlimit64 process_mrelease process_vm_readv process_vm_writev ptrace rseq "
    "sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam "
    "sched_getscheduler "
    "sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam "
    "sched_setscheduler sched_yield seccomp set_robust_list set_thread_area set_tid_address setfsgid "
    "setfsgid32 "
    "setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setpgid setpriority setregid setregid32 "
    "setresgid "
    "setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setuid setuid32 sysinfo times "
    "ugetrlimit "
    "uname vfork wait4 waitid waitpid arch_prctl modify_ldt "
    // signals
    "kill restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn "
    "rt_sigsuspend "
    "rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack signalfd signalfd4 sigprocmask "
    "sigreturn "
    "tgkill tkill "
    // time
    "adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime "
    "clock_gettime64 "
    "clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create "
    "timer_delete "
    "timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create "
    "timerfd_gettime "
    "timerfd_gettime64 timerfd_settime timerfd_settime64 "
    // sockets, polling, IPC
    "accept accept4 bind connect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 "
    "epoll_wait epoll_wait_old eventfd eventfd2 getpeername getsockname getsockopt io_cancel io_destroy "
    "io_getevents "
    "io_pgetevents io_pgetevents_time64 io_setup io_submit ipc listen mq_getsetattr mq_notify mq_open "
    "mq_timedreceive "
    "mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd "
    "_newselect poll "
    "ppoll ppoll_time64 pselect6 pselect6_time64 getrandom recv recvfrom recvmmsg recvmmsg_time64 recvmsg "
    "select "
    "semctl semget semop semtimedop semtimedop_time64 send sendmmsg sendmsg sendto setsockopt shmat shmctl "
    "shmdt "
    "shmget shutdown socketcall socketpair";

struct Extra {
  std::string_view capability;
  std::string_view calls;
};
constexpr Extra kExtras[] = {
    {"DAC_READ_SEARCH", "open_by_handle_at"},
    {"SYS_ADMIN",
     "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr "
     "move_mount "
     "open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 "
     "unshare"},
    {"SYS_BOOT", "reboot"},
    {"SYS_CHROOT", "chroot"},
    {"SYS_MODULE", "delete_module init_module finit_module"},
    {"SYS_PACCT", "acct"},
    {"SYS_PTRACE", "kcmp pidfd_getfd process_madvise"},
    {"SYS_RAWIO", "iopl ioperm"},
    {"SYS_TIME", "settimeofday stime clock_settime clock_settime64"},
    {"SYS_TTY_CONFIG", "vhangup"},
    {"SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"},
    {"SYSLOG", "syslog"},
    {"BPF", "bpf"},
    {"PERFMON", "perf_event_open"},
};

constexpr unsigned long kNewNamespaces = 0x7E020000;  // every CLONE_NEW* flag of clone(2)

#if defined(__x86_64__)
constexpr std::uint32_t kNativeArch = AUDIT_ARCH_X86_64;
constexpr std::uint32_t kCompatArch = SCMP_ARCH_X86;
#elif defined(__aarch64__)
constexpr std::uint32_t kNativeArch = AUDIT_ARCH_AARCH64;
constexpr std::uint32_t kCompatArch = SCMP_ARCH_ARM;
#else
#error "name this machine's audit architecture here"
#endif

using Filter = std::unique_ptr<void, void (*)(scmp_filter_ctx)>;

Status check(int result, std::string_view doing) {
  if (result == 0 || result == -EEXIST) return ok();
  return errno_error(-result, "seccomp {}", doing);
}

Status allow(const Filter& filter, std::string_view names) {
  for (const std::string& name : split(names, ' ')) {
    if (name.empty()) continue;
    int call = seccomp_syscall_resolve_name(name.c_str());
    if (call == __NR_SCMP_ERROR) continue;  // newer than this libseccomp
    TRY(check(seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, call, 0), name));
  }
  return ok();
}

Status allow_by_argument(const Filter& filter, CapabilitySet capabilities) {
  // All socket families but AF_ALG (38), the kernel's crypto, and AF_VSOCK (40), which ignores network
  // namespaces.
  const scmp_arg_cmp families[] = {SCMP_A0(SCMP_CMP_LT, 38), SCMP_A0(SCMP_CMP_EQ, 39),
                                   SCMP_A0(SCMP_CMP_GT, 40)};
  for (const scmp_arg_cmp& family : families)
    TRY(check(seccomp_rule_add_array(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, &family), "socket"));
  for (std::uint32_t persona : {0x0U, 0x8U, 0x20000U, 0x20008U, 0xffffffffU}) {
    const scmp_arg_cmp equal = SCMP_A0(SCMP_CMP_EQ, persona);
    TRY(check(seccomp_rule_add_array(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(personality), 1, &equal),
              "personality"));
  }
  if (capabilities.has(*capability_number("SYS_ADMIN"))) return ok();
  const scmp_arg_cmp no_namespaces = SCMP_A0(SCMP_CMP_MASKED_EQ, kNewNamespaces, 0);
  TRY(check(seccomp_rule_add_array(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, &no_namespaces),
            "clone"));
  // Its flags are behind a pointer that a filter cannot read; with ENOSYS C libraries use clone instead.
  return check(seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0), "clone3");
}

/// Calls newer than the list must say "not implemented", not "forbidden": programs then use the older way.
std::string newer_calls_are_missing(std::uint32_t last_known) {
  constexpr std::uint32_t kX32 = 0x40000000;  // x32 calls carry this bit and are left to the filter
  const sock_filter prologue[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4 /* seccomp_data.arch */),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kNativeArch, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0 /* seccomp_data.nr */),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kX32, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, last_known, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0x00050000U /* SECCOMP_RET_ERRNO */ | ENOSYS),
  };
  return std::string(reinterpret_cast<const char*>(prologue), sizeof prologue);
}

}  // namespace

Result<std::string> export_seccomp(void* filter) {
  int fd = ::memfd_create("seccomp", MFD_CLOEXEC);
  if (fd < 0) return errno_error(errno, "memfd_create 'seccomp'");
  UniqueFd file(fd);
  TRY(check(seccomp_export_bpf(filter, fd), "export"));
  if (::lseek(fd, 0, SEEK_SET) < 0) return errno_error(errno, "seek in the filter");
  for (std::string program;;) {
    TRY_ASSIGN(std::string part, sys::read_some(file, 65536, "seccomp filter"));
    if (part.empty()) return program;
    program += part;
  }
}

Result<std::string> default_seccomp(CapabilitySet capabilities) {
  Filter filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)), seccomp_release);
  if (!filter) return error(Code::Internal, "seccomp_init failed");
  TRY(check(seccomp_arch_add(filter.get(), kCompatArch), "add the 32-bit architecture"));
  // A tree instead of a list: the cost of a system call grows with the logarithm of the number of rules.
  TRY(check(seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2), "optimize"));
  TRY(allow(filter, kAllowed));
  for (const Extra& extra : kExtras)
    if (capabilities.has(*capability_number(extra.capability))) TRY(allow(filter, extra.calls));
  TRY(allow_by_argument(filter, capabilities));
  TRY_ASSIGN(std::string program, export_seccomp(filter.get()));
  return newer_calls_are_missing(450) + program;  // set_mempolicy_home_node, the last one of libseccomp 2.5.4
}

Result<std::string> SeccompProfiles::default_for(CapabilitySet capabilities) {
  {
    MutexLock lock(mutex_);
    if (auto found = made_.find(capabilities.bits); found != made_.end()) return found->second;
  }
  TRY_ASSIGN(std::string program, default_seccomp(capabilities));
  MutexLock lock(mutex_);
  return made_[capabilities.bits] = std::move(program);
}

}  // namespace skiff::runtime
