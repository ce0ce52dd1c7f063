#pragma once
// The volume hook: a pod's volumes on the node, made and removed.

#include <map>
#include <string>

#include "kubelet/volume_files.hpp"
#include "runtime/node.hpp"

namespace skiff::kubelet {

/// Where each volume is, by its name; paths as the node sees them.
using VolumePaths = std::map<std::string, std::string>;

/// A volume that could not be made; the message is that of the FailedMount event.
class Volumes {
 public:
  Volumes(runtime::Node& node, client::Client& client, Clock& clock, Random& random)
      : node_(node), client_(client), tokens_(client, clock), random_(random) {}

  /// Idempotent: makes what is missing and brings configuration and tokens up to date.
  Result<VolumePaths> set_up(const std::string& pod_directory, const FieldSource& source);
  /// When set_up has to be called again for a token.
  TimePoint next_refresh(const std::string& pod_uid) const { return tokens_.next_refresh(pod_uid); }
  /// Unmounts and removes; what was never made is fine.
  Status tear_down(const std::string& pod_directory, const std::string& pod_uid);

 private:
  Result<std::string> set_up_one(const std::string& pod_directory, const api::Volume& volume,
                                 const FieldSource& source);
  Status mount_once(const std::string& path, const std::string& options);

  runtime::Node& node_;
  client::Client& client_;
  TokenCache tokens_;
  Random& random_;
};

/// Checks and makes what hostPath.type asks for. Pure but for the file system.
Status check_host_path(const api::HostPathVolumeSource& source);

}  // namespace skiff::kubelet
