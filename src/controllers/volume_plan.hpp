#pragma once
// What a claim and a volume need next to find each other (pkg/controller/volume/persistentvolume): pure.

#include <string>
#include <vector>

#include "api/volumes.hpp"
#include "client/object.hpp"

namespace skiff::controllers {

/// An event to record, or nothing when `reason` is empty.
struct VolumeEvent {
  std::string type, reason, message;
};

struct ClaimView {
  const api::PersistentVolumeClaim& claim;
  const std::vector<client::Ref<api::PersistentVolume>>& volumes;
  const api::StorageClass* storage_class = nullptr;  // what the claim names, if it exists
  std::vector<std::string> waiting_pods;              // that use it and have no node yet
};

struct ClaimStep {
  enum class What { Wait, Provision, Bind, Lost } what = What::Wait;
  client::Ref<api::PersistentVolume> volume;  // for Bind
  VolumeEvent event = {};
};

ClaimStep plan_claim(const ClaimView& view);

enum class VolumeStep {
  Available,  // free, or reserved by name for a claim to come
  Bound,
  WakeClaim,  // its claim does not know yet
  Mismatch,   // its claim wants another volume mode
  Unbind,     // its claim took another one
  Reclaim,    // its claim is gone
};

/// `claim`: what claimRef names, by UID; null when it is gone.
VolumeStep plan_volume(const api::PersistentVolume& volume, const api::PersistentVolumeClaim* claim);

/// Why a volume that the claim names cannot be its own; "" when it can.
std::string unfit_for(const api::PersistentVolume& volume, const api::PersistentVolumeClaim& claim);

/// What growing a bound claim needs: nothing, or its volume's new size.
bool wants_growth(const api::PersistentVolumeClaim& claim);

}  // namespace skiff::controllers
