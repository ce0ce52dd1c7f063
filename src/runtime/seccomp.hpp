#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/mutex.hpp"
#include "runtime/capabilities.hpp"

namespace skiff::runtime {

/// The default profile of containerd and Docker as a BPF program: a list of allowed calls, the rest fails
/// with EPERM (clone3 with ENOSYS, so that C libraries fall back to clone). `capabilities` widen it as they
/// do there. Costs about a millisecond; keep the result.
Result<std::string> default_seccomp(CapabilitySet capabilities);

/// A profile in the JSON form of Docker and the OCI runtimes, for a process with these capabilities. Invalid: it is not
/// one.
Result<std::string> seccomp_from_profile(std::string_view text, CapabilitySet capabilities);

/// Default profiles that were made once. Any thread.
class SeccompProfiles {
 public:
  Result<std::string> default_for(CapabilitySet capabilities);

 private:
  Mutex mutex_;
  std::map<std::uint64_t, std::string> made_
      GUARDED_BY(mutex_);  // by capabilities; there are few combinations
};

}  // namespace skiff::runtime
