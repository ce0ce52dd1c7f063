// Brings claims and volumes together and gives volumes back (pkg/controller/volume/persistentvolume). One worker: two
// claims never reach for the same volume at once. Keys with a namespace are claims, those without are volumes.

#include "api/pods.hpp"
#include "api/status.hpp"
#include "client/event_recorder.hpp"
#include "controllers/kinds.hpp"
#include "controllers/volume_plan.hpp"
#include "controllers/volume_provisioner.hpp"

namespace skiff::controllers {
namespace {

using api::PersistentVolume;
using api::PersistentVolumeClaim;

constexpr char kUnbound[] = "unbound";  // claims that look for a volume
constexpr char kByClaim[] = "claims-of-waiting-pods";

api::ObjectReference reference_in_volume(const PersistentVolumeClaim& claim) {
  api::ObjectReference ref;
  ref.apiVersion = "v1";
  ref.kind = "PersistentVolumeClaim";
  ref.name = claim.metadata.name;
  ref.namespace_ = claim.metadata.namespace_;
  ref.uid = claim.metadata.uid;
  ref.resourceVersion = claim.metadata.resourceVersion;
  return ref;
}

bool is_unbound(const PersistentVolumeClaim& claim) {
  return !claim.metadata.annotations.contains(api::kBindCompleted) && claim.status.phase != "Bound";
}

class VolumeBinder final : public Controller {
 public:
  VolumeBinder(const Context& context, VolumeDirectories* directories)
      : Controller(context, "persistentvolume-controller"),
        claims_(context.informers.of<PersistentVolumeClaim>()),
        volumes_(context.informers.of<PersistentVolume>()),
        classes_(context.informers.of<api::StorageClass>()),
        pods_(context.informers.of<api::Pod>()),
        events_(context.client, context.clock, context.random, "persistentvolume-controller"),
        provisioner_(context.client, events_, directories) {
    watch_claims_and_volumes();
    watch_classes_and_pods();
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    if (key.namespace_.empty()) {
      if (Ref<PersistentVolume> volume = volumes_.get(key)) TRY(sync_volume(volume));
    } else if (Ref<PersistentVolumeClaim> claim = claims_.get(key)) {
      TRY(sync_claim(claim));
    }
    return Requeue::never();
  }

 private:
  void watch_claims_and_volumes() {
    claims_.add_index(kUnbound, [](const PersistentVolumeClaim& claim) {
      return is_unbound(claim) ? std::vector<std::string>{""} : std::vector<std::string>{};
    });
    claims_.on_change([this](const Ref<PersistentVolumeClaim>& before, const Ref<PersistentVolumeClaim>& now) {
      if (now) queue().add(key_of(*now));
      for (const auto& one : {before, now})
        if (one && !one->spec.volumeName.empty()) queue().add({"", one->spec.volumeName});
    });
    volumes_.on_change([this](const Ref<PersistentVolume>& before, const Ref<PersistentVolume>& now) {
      if (now) queue().add(key_of(*now));
      for (const auto& one : {before, now})
        if (one && one->spec.claimRef) queue().add({one->spec.claimRef->namespace_, one->spec.claimRef->name});
      bool came_free = now && now->status.phase == "Available" && (!before || before->status.phase != "Available");
      if (came_free || (now && !before)) wake_unbound();
    });
  }

  void watch_classes_and_pods() {
    classes_.on_change([this](const auto&, const auto&) { wake_unbound(); });
    pods_.add_index(kByClaim, [](const api::Pod& pod) {
      std::vector<std::string> keys;
      if (pod.spec.nodeName.empty() && !api::is_finished(pod))
        for (const api::UsedClaim& used : api::used_claims(pod))
          keys.push_back(ObjectKey{pod.metadata.namespace_, used.name}.str());
      return keys;
    });
    pods_.on_change([this](const Ref<api::Pod>& before, const Ref<api::Pod>& now) {
      // Whom its claims wait for is news once the scheduler found no place for it.
      auto refused = [](const Ref<api::Pod>& pod) {
        const api::PodCondition* placed = pod ? api::find_condition(pod->status, "PodScheduled") : nullptr;
        return placed && placed->status == "False";
      };
      if (!refused(now) || refused(before)) return;
      for (const api::UsedClaim& used : api::used_claims(*now)) queue().add({now->metadata.namespace_, used.name});
    });
  }

  void wake_unbound() {
    for (const auto& claim : claims_.by_index(kUnbound, "")) queue().add(key_of(*claim));
  }

  // ---- claims

  Status sync_claim(const Ref<PersistentVolumeClaim>& claim) {
    const auto volumes = volumes_.list();
    Ref<api::StorageClass> one = classes_.get({"", api::class_of(*claim)});
    ClaimStep step = plan_claim({*claim, volumes, one.get(), waiting_pods(*claim)});
    if (step.what == ClaimStep::What::Wait && claim->spec.volumeName.empty() && is_unbound(*claim)) {
      TRY_ASSIGN(bool assigned, assign_default_class(*claim));
      if (assigned) return ok();  // its change comes back
    }
    if (!step.event.reason.empty() && (step.what != ClaimStep::What::Lost || claim->status.phase != "Lost"))
      events_.record(client::reference_to(claim), step.event.type, step.event.reason, step.event.message);
    switch (step.what) {
      case ClaimStep::What::Wait: return set_claim_status(claim, "Pending", nullptr);
      case ClaimStep::What::Lost: return set_claim_status(claim, "Lost", nullptr);
      case ClaimStep::What::Bind: return bind(claim, step.volume);
      case ClaimStep::What::Provision:
        TRY(set_claim_status(claim, "Pending", nullptr));
        return provisioner_.provision(claim, one);
    }
    return ok();
  }

  std::vector<std::string> waiting_pods(const PersistentVolumeClaim& claim) const {
    std::vector<std::string> names;
    for (const auto& pod : pods_.by_index(kByClaim, key_of(claim).str())) names.push_back(pod->metadata.name);
    return names;
  }

  // A claim of a time without a default class gets the one there is now.
  Result<bool> assign_default_class(const PersistentVolumeClaim& claim) {
    if (claim.spec.storageClassName || !api::class_of(claim).empty()) return false;
    Ref<api::StorageClass> chosen;
    for (const auto& one : classes_.list())
      if (api::is_default(*one) && (!chosen || chosen->metadata.creationTimestamp < one->metadata.creationTimestamp))
        chosen = one;
    if (!chosen) return false;
    PersistentVolumeClaim next = claim;
    next.spec.storageClassName = chosen->metadata.name;
    TRY(client_.update(std::move(next)));
    return true;
  }

  // Each step leaves a state that the next reconcile goes on from.
  Status bind(const Ref<PersistentVolumeClaim>& claim, Ref<PersistentVolume> volume) {
    TRY_ASSIGN(volume, bind_volume(volume, *claim));
    TRY_ASSIGN(volume, set_phase(volume, "Bound"));
    TRY_ASSIGN(Ref<PersistentVolumeClaim> bound, bind_claim(claim, *volume));
    return set_claim_status(bound, "Bound", volume.get());
  }

  Result<Ref<PersistentVolume>> bind_volume(const Ref<PersistentVolume>& volume, const PersistentVolumeClaim& claim) {
    if (volume->spec.claimRef && volume->spec.claimRef->uid == claim.metadata.uid) return volume;
    PersistentVolume next = *volume;
    if (!next.spec.claimRef) next.metadata.annotations[api::kBoundByController] = "yes";
    next.spec.claimRef = reference_in_volume(claim);
    return client_.update(std::move(next));
  }

  Result<Ref<PersistentVolumeClaim>> bind_claim(const Ref<PersistentVolumeClaim>& claim, const PersistentVolume& volume) {
    PersistentVolumeClaim next = *claim;
    if (next.spec.volumeName != volume.metadata.name) {
      next.spec.volumeName = volume.metadata.name;
      next.metadata.annotations[api::kBoundByController] = "yes";
    }
    next.metadata.annotations.emplace(api::kBindCompleted, "yes");
    if (next.metadata.annotations == claim->metadata.annotations && next.spec.volumeName == claim->spec.volumeName)
      return claim;
    return client_.update(std::move(next));
  }

  Status set_claim_status(const Ref<PersistentVolumeClaim>& claim, const char* phase, const PersistentVolume* volume) {
    PersistentVolumeClaim next = *claim;
    next.status.phase = phase;
    next.status.accessModes = volume ? volume->spec.accessModes : std::vector<std::string>{};
    if (!volume) next.status.capacity.clear();
    else if (claim->status.phase != phase) next.status.capacity = volume->spec.capacity;
    if (next.status == claim->status) return ok();
    return forget(client_.update_status(std::move(next)));
  }

  // ---- volumes

  Status sync_volume(const Ref<PersistentVolume>& volume) {
    TRY_ASSIGN(Ref<PersistentVolumeClaim> claim, claim_of(*volume));
    switch (plan_volume(*volume, claim.get())) {
      case VolumeStep::Available: return forget(set_phase(volume, "Available"));
      case VolumeStep::Bound: return forget(set_phase(volume, "Bound"));
      case VolumeStep::WakeClaim: queue().add(key_of(*claim)); return ok();
      case VolumeStep::Mismatch: report_mismatch(volume, claim); return ok();
      case VolumeStep::Unbind: return unbind(*volume);
      case VolumeStep::Reclaim: return release(volume);
    }
    return ok();
  }

  Result<Ref<PersistentVolumeClaim>> claim_of(const PersistentVolume& volume) {
    if (!volume.spec.claimRef || volume.spec.claimRef->uid.empty()) return Ref<PersistentVolumeClaim>();
    const ObjectKey key{volume.spec.claimRef->namespace_, volume.spec.claimRef->name};
    Ref<PersistentVolumeClaim> claim = claims_.get(key);
    if (claim && claim->metadata.uid == volume.spec.claimRef->uid) return claim;
    // Volumes and claims come by two watches: before data is given up, the API is asked.
    Result<Ref<PersistentVolumeClaim>> live = client_.get<PersistentVolumeClaim>(key);
    if (!live.ok() && live.error().code() == Code::NotFound) return Ref<PersistentVolumeClaim>();
    TRY(live);
    return live.value()->metadata.uid == volume.spec.claimRef->uid ? live.value() : nullptr;
  }

  Result<Ref<PersistentVolume>> set_phase(const Ref<PersistentVolume>& volume, const char* phase,
                                          const std::string& message = "") {
    if (volume->status.phase == phase && volume->status.message == message) return volume;
    PersistentVolume next = *volume;
    if (next.status.phase != phase) next.status.lastPhaseTransitionTime = wall_now();
    next.status.phase = phase;
    next.status.message = message;
    return client_.update_status(std::move(next));
  }

  void report_mismatch(const Ref<PersistentVolume>& volume, const Ref<PersistentVolumeClaim>& claim) {
    events_.warning(client::reference_to(volume), "VolumeMismatch",
                    fmt::format("Cannot bind PersistentVolume to requested PersistentVolumeClaim \"{}\" due to "
                                "incompatible volumeMode.", claim->metadata.name));
    events_.warning(client::reference_to(claim), "VolumeMismatch",
                    fmt::format("Cannot bind PersistentVolume \"{}\" to requested PersistentVolumeClaim \"{}\" due to "
                                "incompatible volumeMode.", volume->metadata.name, claim->metadata.name));
  }

  Status unbind(const PersistentVolume& volume) {
    PersistentVolume next = volume;
    if (next.metadata.annotations.erase(api::kBoundByController) > 0) next.spec.claimRef.reset();
    else next.spec.claimRef->uid.clear();
    TRY_ASSIGN(Ref<PersistentVolume> free, client_.update(std::move(next)));
    return forget(set_phase(free, "Available"));
  }

  Status release(Ref<PersistentVolume> volume) {
    if (volume->status.phase != "Failed") {
      TRY_ASSIGN(volume, set_phase(volume, "Released"));
    }
    Reclaimed outcome = provisioner_.reclaim(volume);
    switch (outcome.what) {
      case Reclaimed::What::Kept: return let_go(*volume);
      case Reclaimed::What::Emptied: return recycle(*volume);
      case Reclaimed::What::Removed: return remove(*volume);
      case Reclaimed::What::Failed: return fail(volume, outcome);
    }
    return ok();
  }

  Status fail(const Ref<PersistentVolume>& volume, const Reclaimed& outcome) {
    if (volume->status.phase == "Failed" && volume->status.message == outcome.message) return ok();
    events_.warning(client::reference_to(volume), outcome.reason, outcome.message);
    return forget(set_phase(volume, "Failed", outcome.message));
  }

  // Its storage stays: nothing keeps the object of a volume that is being deleted.
  Status let_go(const PersistentVolume& volume) {
    if (!volume.metadata.deletionTimestamp || volume.spec.persistentVolumeReclaimPolicy == "Delete") return ok();
    return drop_finalizer(volume);
  }

  // As good as new: not even a claim that a person reserved it for is remembered with its UID.
  Status recycle(const PersistentVolume& volume) {
    events_.normal(client::reference_to(std::make_shared<const PersistentVolume>(volume)), "VolumeRecycled",
                   "Volume recycled");
    return unbind(volume);
  }

  Status drop_finalizer(const PersistentVolume& volume) {
    return forget(client_.update_with_retry<PersistentVolume>(key_of(volume), [&](PersistentVolume& next) {
      return next.metadata.uid == volume.metadata.uid && std::erase(next.metadata.finalizers, kDeletionFinalizer) > 0;
    }));
  }

  Status remove(const PersistentVolume& volume) {
    TRY(drop_finalizer(volume));
    return forget(client_.remove<PersistentVolume>(key_of(volume), {.uid = volume.metadata.uid}));
  }

  template <class T>
  static Status forget(Result<T> result) {
    return result.ok() || result.error().code() == Code::NotFound ? ok() : Status(std::move(result).error());
  }

  client::Informer<PersistentVolumeClaim> claims_;
  client::Informer<PersistentVolume> volumes_;
  client::Informer<api::StorageClass> classes_;
  client::Informer<api::Pod> pods_;
  client::EventRecorder events_;
  VolumeProvisioner provisioner_;
};

}  // namespace

std::unique_ptr<Controller> volume_binder(const Context& context, VolumeDirectories* directories) {
  return std::make_unique<VolumeBinder>(context, directories);
}

}  // namespace skiff::controllers
