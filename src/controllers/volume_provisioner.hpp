#pragma once
// Makes volumes for claims and takes their storage back.

#include <string>

#include "api/volumes.hpp"
#include "client/client.hpp"
#include "client/event_recorder.hpp"
#include "controllers/volume_directories.hpp"

namespace skiff::controllers {

/// On volumes whose storage this process made: their object stays until the storage is gone.
inline constexpr char kDeletionFinalizer[] = "kubernetes.io/pv-controller";

struct Reclaimed {
  enum class What { Kept, Emptied, Removed, Failed } what;
  std::string reason, message;  // for Failed
};

class VolumeProvisioner {
 public:
  /// `directories` may be null: then the built-in class's provisioner is a stranger like any other.
  VolumeProvisioner(client::Client& client, client::EventRecorder& events, VolumeDirectories* directories)
      : client_(client), events_(events), directories_(directories) {}

  /// Makes a volume for `claim`, or says who will, or why nobody can: as an event. `one`: the claim's class, or null.
  Status provision(const client::Ref<api::PersistentVolumeClaim>& claim, const client::Ref<api::StorageClass>& one);
  /// What the volume's reclaim policy asks for.
  Reclaimed reclaim(const client::Ref<api::PersistentVolume>& volume);

 private:
  bool is_ours(const std::string& provisioner) const { return directories_ && provisioner == kDirectoryProvisioner; }
  Status make(const client::Ref<api::PersistentVolumeClaim>& claim, const api::StorageClass& one);
  Status give_up(const client::Ref<api::PersistentVolumeClaim>& claim, const std::string& why);
  Result<client::Ref<api::PersistentVolumeClaim>> name_provisioner(
      const client::Ref<api::PersistentVolumeClaim>& claim, const std::string& provisioner);
  Reclaimed empty(const api::PersistentVolume& volume);
  Reclaimed remove(const api::PersistentVolume& volume);

  client::Client& client_;
  client::EventRecorder& events_;
  VolumeDirectories* directories_;
};

}  // namespace skiff::controllers
