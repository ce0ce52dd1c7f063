#pragma once
// The volume hook: a pod's volumes on the node, made and removed.

#include <map>
#include <string>

#include "image/content_store.hpp"
#include "kubelet/block_volumes.hpp"
#include "kubelet/volume_files.hpp"
#include "runtime/node.hpp"

namespace skiff::kubelet {

/// A volume as containers get it.
struct MountedVolume {
  std::string path;        // as the node sees it
  bool read_only = false;  // for every container, whatever it asks for
  std::string device;      // a raw device instead of a path
  std::string image;       // digest of an image volume
};

/// By the pod's names for them.
using PodVolumes = std::map<std::string, MountedVolume>;

/// What Volumes uses and does not own.
struct VolumeSystem {
  runtime::Node& node;
  client::Client& client;
  const image::ContentStore& images;
  Clock& clock;
  Random& random;
  std::string node_name;
};

/// An error is a volume that could not be made; its message is that of the FailedMount event. Any thread, one at a time
/// for a pod.
class Volumes {
 public:
  explicit Volumes(VolumeSystem system) : system_(std::move(system)), tokens_(system_.client, system_.clock) {}

  /// Idempotent: makes what is missing and brings configuration and tokens up to date. Image volumes come with
  /// set_up_image, when a container needs them.
  Result<PodVolumes> set_up(const std::string& pod_directory, const FieldSource& source);
  /// Shows the image at the volume's place.
  Result<MountedVolume> set_up_image(const std::string& pod_directory, const std::string& volume,
                                     const image::Image& image);
  /// When set_up has to be called again for a token.
  TimePoint next_refresh(const std::string& pod_uid) const { return tokens_.next_refresh(pod_uid); }
  /// Unmounts and removes; what was never made is fine. Data of claims and of the host stays.
  Status tear_down(const std::string& pod_directory, const std::string& pod_uid);

 private:
  struct Place {
    const std::string& pod_directory;
    const api::Volume& volume;
    const FieldSource& source;
    std::string path() const { return pod_directory + "/volumes/" + volume.name; }
  };
  Result<MountedVolume> set_up_one(const Place& place);
  Result<MountedVolume> set_up_files(const Place& place);
  Result<MountedVolume> set_up_empty_dir(const Place& place);
  Result<MountedVolume> set_up_claim(const Place& place);
  Result<MountedVolume> mount_claim(const Place& place, const api::PersistentVolume& volume);
  Result<MountedVolume> mount_nfs(const Place& place, const api::NFSVolumeSource& nfs,
                                  const std::vector<std::string>& options);
  Status check_affinity(const api::PersistentVolume& volume) const;
  Status reserve(const api::PersistentVolume& volume, const std::string& pod_uid);
  Status mount_once(const runtime::NodeMount& mount);

  const VolumeSystem system_;
  TokenCache tokens_;
  BlockVolumes devices_;
  Mutex mutex_;
  /// Which pods use a PersistentVolume, for those that only one pod may.
  std::map<std::string, std::set<std::string>> users_ GUARDED_BY(mutex_);
};

/// Checks and makes what hostPath.type asks for. Pure but for the file system.
Status check_host_path(const api::HostPathVolumeSource& source);

/// How large a memory-backed emptyDir is: the smallest of its limit, the pod's memory limit and the node's memory; 0 for
/// none of them. Pure.
std::int64_t memory_volume_bytes(const api::EmptyDirVolumeSource& source, const FieldSource& pod);

}  // namespace skiff::kubelet
