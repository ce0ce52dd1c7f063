// Lets go of claims that no pod uses any more, and of volumes that no claim uses (pvcprotection and pvprotection of
// pkg/controller/volume). Admission adds the finalizers.

#include <algorithm>

#include "api/gen/pod.hpp"
#include "api/gen/volume.hpp"
#include "api/pods.hpp"
#include "controllers/kinds.hpp"

namespace skiff::controllers {
namespace {

constexpr char kByClaim[] = "claim";

// The claims that a pod uses, generic ephemeral volumes included.
std::vector<std::string> claims_of(const api::Pod& pod) {
  std::vector<std::string> claims;
  if (api::is_finished(pod)) return claims;
  for (const api::Volume& volume : pod.spec.volumes) {
    if (volume.persistentVolumeClaim)
      claims.push_back(ObjectKey{pod.metadata.namespace_, volume.persistentVolumeClaim->claimName}.str());
    if (volume.ephemeral)
      claims.push_back(ObjectKey{pod.metadata.namespace_, pod.metadata.name + "-" + volume.name}.str());
  }
  return claims;
}

template <class T>
Status drop_finalizer(client::Client& client, const ObjectKey& key, const char* finalizer) {
  auto written = client.update_with_retry<T>(key, [&](T& next) {
    return next.metadata.deletionTimestamp && std::erase(next.metadata.finalizers, finalizer) > 0;
  });
  if (written.ok() || written.error().code() == Code::NotFound) return ok();
  return std::move(written).error();
}

template <class T>
void watch_ends(client::Informer<T>& informer, client::WorkQueue& queue) {
  informer.on_change([&queue](const Ref<T>&, const Ref<T>& now) {
    if (now && now->metadata.deletionTimestamp) queue.add(key_of(*now));
  });
}

class ClaimProtection final : public Controller {
 public:
  explicit ClaimProtection(const Context& context)
      : Controller(context, "pvc-protection-controller"),
        claims_(context.informers.of<api::PersistentVolumeClaim>()),
        pods_(context.informers.of<api::Pod>()) {
    pods_.add_index(kByClaim, claims_of);
    watch_ends(claims_, queue());
    pods_.on_change([this](const Ref<api::Pod>& before, const Ref<api::Pod>& now) {
      bool ends = before && (!now || (api::is_finished(*now) && !api::is_finished(*before)));
      if (!ends) return;
      for (const api::Volume& volume : before->spec.volumes) {
        if (volume.persistentVolumeClaim)
          queue().add({before->metadata.namespace_, volume.persistentVolumeClaim->claimName});
        if (volume.ephemeral) queue().add({before->metadata.namespace_, before->metadata.name + "-" + volume.name});
      }
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    Ref<api::PersistentVolumeClaim> claim = claims_.get(key);
    if (!claim || !claim->metadata.deletionTimestamp) return Requeue::never();
    if (!pods_.by_index(kByClaim, key.str()).empty()) return Requeue::never();
    // The informer may not have seen a new pod yet: the API is asked before anything is lost.
    TRY_ASSIGN(auto live, client_.list<api::Pod>({.namespace_ = key.namespace_}));
    for (const Ref<api::Pod>& pod : live)
      for (const std::string& used : claims_of(*pod))
        if (used == key.str()) return Requeue::never();  // its end will be seen
    TRY(drop_finalizer<api::PersistentVolumeClaim>(client_, key, "kubernetes.io/pvc-protection"));
    return Requeue::never();
  }

 private:
  client::Informer<api::PersistentVolumeClaim> claims_;
  client::Informer<api::Pod> pods_;
};

class VolumeProtection final : public Controller {
 public:
  explicit VolumeProtection(const Context& context)
      : Controller(context, "pv-protection-controller"), volumes_(context.informers.of<api::PersistentVolume>()) {
    watch_ends(volumes_, queue());
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    Ref<api::PersistentVolume> volume = volumes_.get(key);
    if (!volume || !volume->metadata.deletionTimestamp || volume->status.phase == "Bound") return Requeue::never();
    TRY(drop_finalizer<api::PersistentVolume>(client_, key, "kubernetes.io/pv-protection"));
    return Requeue::never();
  }

 private:
  client::Informer<api::PersistentVolume> volumes_;
};

}  // namespace

std::unique_ptr<Controller> claim_protection(const Context& context) {
  return std::make_unique<ClaimProtection>(context);
}

std::unique_ptr<Controller> volume_protection(const Context& context) {
  return std::make_unique<VolumeProtection>(context);
}

}  // namespace skiff::controllers
