// CertificateSigningRequests: kubelets' client certificates are approved, approved requests to the cluster's own
// signers are signed, old requests are removed.

#include <algorithm>

#include "api/gen/authorization.hpp"
#include "api/json.hpp"
#include "controllers/certificate_signers.hpp"
#include "controllers/kinds.hpp"

namespace skiff::controllers {
namespace {

using Request = api::CertificateSigningRequest;

constexpr std::chrono::seconds kDefaultLifetime{365 * 24 * 3600};
constexpr std::chrono::seconds kShortestLifetime{600};
constexpr std::chrono::hours kKeepDecided{1}, kKeepPending{24};

class Certificates final : public Controller {
 public:
  Certificates(const Context& context, const client::CertificateAuthority& authority)
      : Controller(context, "certificatesigningrequest-controller"),
        authority_(authority),
        requests_(context.informers.of<Request>()) {
    requests_.on_change([this](const Ref<Request>&, const Ref<Request>& now) {
      if (now) queue().add(key_of(*now));
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    Ref<Request> request = requests_.get(key);
    if (!request) return Requeue::never();
    TRY_ASSIGN(bool removed, clean(*request));
    if (removed) return Requeue::never();
    if (request->status.certificate.data.empty() && !find_condition(*request, "Denied") &&
        !find_condition(*request, "Failed")) {
      if (find_condition(*request, "Approved")) TRY(sign(*request));
      else TRY(approve(*request));
    }
    return Requeue::in(kKeepDecided);  // to be looked at for cleaning
  }

 private:
  // ---- Cleaner

  bool older(const Request& request, const char* type, Duration age) const {
    const auto* condition = find_condition(request, type);
    return condition && condition->lastUpdateTime && condition->lastUpdateTime.wall() + age < clock_.wall_now();
  }

  bool is_stale(const Request& request) const {
    const bool issued = !request.status.certificate.data.empty();
    if (issued) {
      Result<WallTime> end = authority_.expiry(request.status.certificate.data);
      if (end.ok() && end.value() < clock_.wall_now()) return true;
    }
    if (issued && older(request, "Approved", kKeepDecided)) return true;
    if (older(request, "Denied", kKeepDecided) || older(request, "Failed", kKeepDecided)) return true;
    bool pending = request.status.conditions.empty() && !issued;
    return pending && request.metadata.creationTimestamp.wall() + kKeepPending < clock_.wall_now();
  }

  Result<bool> clean(const Request& request) {
    if (!is_stale(request)) return false;
    Result<AnyRef> removed = client_.remove<Request>(key_of(request), {.uid = request.metadata.uid});
    if (!removed.ok() && removed.error().code() != Code::NotFound) return std::move(removed).error();
    return true;
  }

  // ---- Approver

  Result<bool> authorized(const Request& request, const char* subresource) {
    api::SubjectAccessReview review;
    review.spec.user = request.spec.username;
    review.spec.uid = request.spec.uid;
    review.spec.groups = request.spec.groups;
    review.spec.extra = request.spec.extra;
    api::ResourceAttributes& what = review.spec.resourceAttributes.emplace();
    what.group = "certificates.k8s.io";
    what.resource = "certificatesigningrequests";
    what.verb = "create";
    what.version = "*";
    what.subresource = subresource;
    TRY_ASSIGN(Ref<api::SubjectAccessReview> answered, client_.create(std::move(review)));
    return answered->status.allowed;
  }

  Status approve(const Request& request) {
    Result<client::CertificateRequest> asked = authority_.read(request.spec.request.data);
    if (!asked.ok() || !is_kubelet_client(request, asked.value())) return ok();
    if (request.spec.username == asked.value().common_name) {
      TRY_ASSIGN(bool self, authorized(request, "selfnodeclient"));
      if (self)
        return add_approval(request, "Auto approving self kubelet client certificate after SubjectAccessReview.");
    }
    TRY_ASSIGN(bool any, authorized(request, "nodeclient"));
    if (any) return add_approval(request, "Auto approving kubelet client certificate after SubjectAccessReview.");
    return ok();
  }

  Status add_approval(const Request& request, const char* message) {
    Request next = request;
    auto& condition = next.status.conditions.emplace_back();
    condition.type = "Approved";
    condition.status = "True";
    condition.reason = "AutoApproved";
    condition.message = message;
    TRY(client_.patch(api::kind_of<Request>(), key_of(request), client::PatchType::Merge, api::to_json(next),
                      "approval"));
    return ok();
  }

  // ---- Signers

  Status sign(const Request& request) {
    if (!is_own_signer(request.spec.signerName)) return ok();
    Request next = request;
    Result<client::CertificateRequest> asked = authority_.read(request.spec.request.data);
    std::optional<std::string> objection =
        asked.ok() ? signer_objection(request, asked.value()) : asked.error().message();
    if (objection) {
      auto& condition = next.status.conditions.emplace_back();
      condition.type = "Failed";
      condition.status = "True";
      condition.reason = "SignerValidationFailure";
      condition.message = *objection;
    } else {
      std::chrono::seconds lifetime = kDefaultLifetime;
      if (request.spec.expirationSeconds)
        lifetime = std::clamp(std::chrono::seconds(*request.spec.expirationSeconds), kShortestLifetime, lifetime);
      TRY_ASSIGN(next.status.certificate.data,
                 authority_.sign(request.spec.request.data, {request.spec.usages, lifetime}, clock_.wall_now()));
    }
    TRY(client_.update_status(std::move(next)));
    return ok();
  }

  const client::CertificateAuthority& authority_;
  client::Informer<Request> requests_;
};

}  // namespace

std::unique_ptr<Controller> certificates(const Context& context, const client::CertificateAuthority& authority) {
  return std::make_unique<Certificates>(context, authority);
}

}  // namespace skiff::controllers
