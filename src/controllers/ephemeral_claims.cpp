// Makes the claims of pods' generic ephemeral volumes (pkg/controller/volume/ephemeral). They belong to the pod and go
// with it.

#include "api/gen/pod.hpp"
#include "api/pods.hpp"
#include "api/volumes.hpp"
#include "controllers/kinds.hpp"
#include "controllers/ownership.hpp"

namespace skiff::controllers {
namespace {

using api::PersistentVolumeClaim;

class EphemeralClaims final : public Controller {
 public:
  explicit EphemeralClaims(const Context& context)
      : Controller(context, "ephemeral-volume-controller"),
        pods_(context.informers.of<api::Pod>()),
        claims_(context.informers.of<PersistentVolumeClaim>()) {
    pods_.on_change([this](const Ref<api::Pod>& before, const Ref<api::Pod>& now) {
      if (!now || (before && before->metadata.uid == now->metadata.uid)) return;
      for (const api::UsedClaim& used : api::used_claims(*now))
        if (used.ephemeral()) return queue().add(key_of(*now));
    });
    claims_.on_change([this](const Ref<PersistentVolumeClaim>& before, const Ref<PersistentVolumeClaim>& now) {
      if (now) return;
      if (auto pod = owner_key<api::Pod>(before->metadata)) queue().add(*pod);
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    Ref<api::Pod> pod = pods_.get(key);
    if (!pod || pod->metadata.deletionTimestamp || api::is_finished(*pod)) return Requeue::never();
    for (const api::UsedClaim& used : api::used_claims(*pod))
      if (used.ephemeral()) TRY(ensure(*pod, used));
    return Requeue::never();
  }

 private:
  Status ensure(const api::Pod& pod, const api::UsedClaim& used) {
    const ObjectKey key{pod.metadata.namespace_, used.name};
    if (Ref<PersistentVolumeClaim> present = claims_.get(key)) return check(pod, *present);
    const api::PersistentVolumeClaimTemplate& model = *used.volume->ephemeral->volumeClaimTemplate;
    PersistentVolumeClaim claim;
    claim.metadata.name = key.name;
    claim.metadata.namespace_ = key.namespace_;
    claim.metadata.labels = model.metadata.labels;
    claim.metadata.annotations = model.metadata.annotations;
    claim.metadata.ownerReferences = {client::controller_ref(pod)};
    claim.spec = model.spec;
    Result<Ref<PersistentVolumeClaim>> made = client_.create(std::move(claim));
    if (made.ok() || is_namespace_going(made.error())) return ok();
    if (made.error().code() != Code::AlreadyExists) return std::move(made).error().in("create PVC " + key.str());
    TRY_ASSIGN(Ref<PersistentVolumeClaim> live, client_.get<PersistentVolumeClaim>(key));
    return check(pod, *live);
  }

  static Status check(const api::Pod& pod, const PersistentVolumeClaim& claim) {
    const api::OwnerReference* owner = client::controller_of(claim.metadata);
    if (owner && owner->uid == pod.metadata.uid) return ok();
    return error(Code::Conflict, "PVC {} was not created for pod {} (pod is not owner)", key_of(claim).str(),
                 key_of(pod).str());
  }

  client::Informer<api::Pod> pods_;
  client::Informer<PersistentVolumeClaim> claims_;
};

}  // namespace

std::unique_ptr<Controller> ephemeral_claims(const Context& context) {
  return std::make_unique<EphemeralClaims>(context);
}

}  // namespace skiff::controllers
