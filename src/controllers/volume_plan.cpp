#include "controllers/volume_plan.hpp"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace skiff::controllers {
namespace {

using client::Ref;
using What = ClaimStep::What;

Ref<api::PersistentVolume> named(const std::vector<Ref<api::PersistentVolume>>& volumes, const std::string& name) {
  auto found = std::find_if(volumes.begin(), volumes.end(), [&](const auto& one) { return one->metadata.name == name; });
  return found == volumes.end() ? nullptr : *found;
}

ClaimStep wait_for_consumer(const ClaimView& view) {
  const auto& pods = view.waiting_pods;
  if (pods.empty())
    return {.event = {"Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding"}};
  if (pods.size() == 1)
    return {.event = {"Normal", "WaitForPodScheduled", fmt::format("waiting for pod {} to be scheduled", pods[0])}};
  return {.event = {"Normal", "WaitForPodScheduled",
                    fmt::format("waiting for pods {} to be scheduled", fmt::join(pods, ","))}};
}

ClaimStep find_volume(const ClaimView& view) {
  bool delayed = view.storage_class && api::waits_for_consumer(*view.storage_class);
  if (auto volume = api::best_volume({.claim = view.claim, .delayed = delayed}, view.volumes))
    return {What::Bind, volume};
  if (delayed && !view.claim.metadata.annotations.contains(api::kSelectedNode)) return wait_for_consumer(view);
  if (!api::class_of(view.claim).empty()) return {What::Provision, nullptr};
  return {.event = {"Normal", "FailedBinding",
                    "no persistent volumes available for this claim and no storage class is set"}};
}

ClaimStep take_named(const ClaimView& view) {
  const std::string& name = view.claim.spec.volumeName;
  Ref<api::PersistentVolume> volume = named(view.volumes, name);
  if (!volume) return {};
  if (!volume->spec.claimRef) {
    std::string unfit = unfit_for(*volume, view.claim);
    if (unfit.empty()) return {What::Bind, volume};
    return {.event = {"Warning", "VolumeMismatch",
                      fmt::format("Cannot bind to requested volume \"{}\": {}", name, unfit)}};
  }
  if (api::is_bound_to(*volume, view.claim)) return {What::Bind, volume};
  return {.event = {"Warning", "FailedBinding",
                    fmt::format("volume \"{}\" already bound to a different claim.", name)}};
}

ClaimStep keep_bound(const ClaimView& view) {
  auto lost = [](const char* reason, const char* message) {
    return ClaimStep{What::Lost, nullptr, {"Warning", reason, message}};
  };
  const std::string& name = view.claim.spec.volumeName;
  if (name.empty())
    return lost("ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!");
  Ref<api::PersistentVolume> volume = named(view.volumes, name);
  if (!volume) return lost("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
  if (!volume->spec.claimRef || volume->spec.claimRef->uid == view.claim.metadata.uid) return {What::Bind, volume};
  return lost("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly");
}

}  // namespace

ClaimStep plan_claim(const ClaimView& view) {
  if (view.claim.metadata.annotations.contains(api::kBindCompleted)) return keep_bound(view);
  return view.claim.spec.volumeName.empty() ? find_volume(view) : take_named(view);
}

std::string unfit_for(const api::PersistentVolume& volume, const api::PersistentVolumeClaim& claim) {
  if (volume.metadata.deletionTimestamp) return "the volume is marked for deletion";
  if (api::storage_capacity(volume.spec.capacity) < api::requested_storage(claim)) return "requested PV is too small";
  if (api::class_of(volume) != api::class_of(claim)) return "storageClassName does not match";
  if (!api::same_volume_mode(volume, claim)) return "incompatible volumeMode";
  if (!api::offers_modes(volume, claim)) return "incompatible accessMode";
  return "";
}

VolumeStep plan_volume(const api::PersistentVolume& volume, const api::PersistentVolumeClaim* claim) {
  if (!volume.spec.claimRef || volume.spec.claimRef->uid.empty()) return VolumeStep::Available;
  if (!claim) return VolumeStep::Reclaim;
  if (claim->spec.volumeName.empty())
    return api::same_volume_mode(volume, *claim) ? VolumeStep::WakeClaim : VolumeStep::Mismatch;
  if (claim->spec.volumeName == volume.metadata.name) return VolumeStep::Bound;
  // One that was made for this claim has no other use.
  bool made_for_it = volume.metadata.annotations.contains(api::kProvisionedBy) &&
                     volume.spec.persistentVolumeReclaimPolicy == "Delete";
  return made_for_it ? VolumeStep::Reclaim : VolumeStep::Unbind;
}

bool wants_growth(const api::PersistentVolumeClaim& claim) {
  return claim.status.phase == "Bound" && !claim.metadata.deletionTimestamp &&
         api::storage_capacity(claim.status.capacity) < api::requested_storage(claim);
}

}  // namespace skiff::controllers
