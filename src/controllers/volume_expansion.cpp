// Grows volumes with their claims (pkg/controller/volume/expand). A directory grows by saying so; what a driver made,
// the driver grows.

#include "api/gen/volume.hpp"
#include "client/event_recorder.hpp"
#include "controllers/kinds.hpp"
#include "controllers/volume_plan.hpp"

namespace skiff::controllers {
namespace {

using api::PersistentVolume;
using api::PersistentVolumeClaim;

class VolumeExpansion final : public Controller {
 public:
  explicit VolumeExpansion(const Context& context)
      : Controller(context, "persistentvolume-expander-controller"),
        claims_(context.informers.of<PersistentVolumeClaim>()),
        volumes_(context.informers.of<PersistentVolume>()),
        events_(context.client, context.clock, context.random, "volume_expand") {
    claims_.on_change([this](const Ref<PersistentVolumeClaim>& before, const Ref<PersistentVolumeClaim>& now) {
      // Events are told once a change, not once a look.
      if (now && wants_growth(*now) && !(before && wants_growth(*before) && before->spec == now->spec))
        queue().add(key_of(*now));
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    Ref<PersistentVolumeClaim> claim = claims_.get(key);
    if (!claim || !wants_growth(*claim)) return Requeue::never();
    TRY_ASSIGN(Ref<PersistentVolume> volume, client_.get<PersistentVolume>({"", claim->spec.volumeName}));
    if (!volume->spec.hostPath) {
      events_.normal(client::reference_to(claim), "ExternalExpanding",
                     "waiting for an external controller to expand this PVC");
      return Requeue::never();
    }
    const api::Quantity size = api::requested_storage(*claim);
    TRY(begin(*claim));
    TRY(client_.update_with_retry<PersistentVolume>(key_of(*volume), [&](PersistentVolume& next) {
      if (!(api::storage_capacity(next.spec.capacity) < size)) return false;
      next.spec.capacity["storage"] = size;
      return true;
    }));
    TRY(finish(*claim, size));
    events_.normal(client::reference_to(claim), "VolumeResizeSuccessful",
                   fmt::format("ExpandVolume succeeded for volume {}", key.str()));
    return Requeue::never();
  }

 private:
  Status begin(const PersistentVolumeClaim& claim) {
    return write(claim, [&](PersistentVolumeClaim& next) {
      erase_conditions(next);
      api::PersistentVolumeClaimCondition& resizing = next.status.conditions.emplace_back();
      resizing.type = "Resizing";
      resizing.status = "True";
      resizing.lastTransitionTime = wall_now();
      return true;
    });
  }

  Status finish(const PersistentVolumeClaim& claim, const api::Quantity& size) {
    return write(claim, [&](PersistentVolumeClaim& next) {
      erase_conditions(next);
      next.status.capacity["storage"] = size;
      next.status.allocatedResources["storage"] = size;
      next.status.allocatedResourceStatuses.clear();
      return true;
    });
  }

  static void erase_conditions(PersistentVolumeClaim& claim) {
    std::erase_if(claim.status.conditions, [](const api::PersistentVolumeClaimCondition& one) {
      return one.type == "Resizing" || one.type == "FileSystemResizePending";
    });
  }

  Status write(const PersistentVolumeClaim& claim, const std::function<bool(PersistentVolumeClaim&)>& change) {
    auto written = client_.update_with_retry<PersistentVolumeClaim>(
        key_of(claim), [&](PersistentVolumeClaim& next) { return next.metadata.uid == claim.metadata.uid && change(next); },
        true);
    return written.ok() ? ok() : Status(written.error());
  }

  client::Informer<PersistentVolumeClaim> claims_;
  client::Informer<PersistentVolume> volumes_;
  client::EventRecorder events_;
};

}  // namespace

std::unique_ptr<Controller> volume_expansion(const Context& context) {
  return std::make_unique<VolumeExpansion>(context);
}

}  // namespace skiff::controllers
