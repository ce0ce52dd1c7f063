#pragma once
// Raw devices for pods: a disk of the node as it is, or a file on a loop device. Which pod uses which device stands on
// disk (pods/<uid>/devices/<volume> -> /dev/loop3), so that it is known again after a restart.

#include <string>

#include "base/error.hpp"
#include "base/mutex.hpp"

namespace skiff::kubelet {

/// Any thread.
class BlockVolumes {
 public:
  struct Wanted {
    std::string pod_directory;
    std::string volume;      // the pod's name for it
    std::string path;        // a block device, a file, or a directory that gets a file
    std::int64_t bytes = 0;  // of a file that has to be made
  };
  /// The device; idempotent. Grows a file that is smaller than the volume.
  Result<std::string> attach(const Wanted& wanted);
  /// Lets go of all devices of the pod; a loop device that no other pod has is detached.
  Status detach_all(const std::string& pod_directory);

 private:
  bool used_elsewhere(const std::string& pod_directory, const std::string& device) const;
  Mutex mutex_;  // finding a user and detaching is one step
};

}  // namespace skiff::kubelet
