#include "cluster/certificate_renewal.hpp"

#include "base/log.hpp"

namespace skiff::cluster {

namespace {

constexpr Duration kInterval = std::chrono::hours(1);

bool differ(const Leaves& a, const Leaves& b) {
  return a.server.certificate != b.server.certificate || a.admin.certificate != b.admin.certificate ||
         a.front_proxy.certificate != b.front_proxy.certificate;
}

}  // namespace

CertificateRenewal::CertificateRenewal(Clock& clock, Leaves in_use, Uses uses)
    : clock_(clock), in_use_(std::move(in_use)), uses_(std::move(uses)), runner_(clock, *this) {}

void CertificateRenewal::start() {
  runner_.queue().add({"", "certificates"});
  runner_.start();
}

Result<client::Requeue> CertificateRenewal::reconcile(const client::ObjectKey&) {
  TRY_ASSIGN(Leaves now, uses_.establish(clock_.wall_now()));
  if (differ(now, in_use_)) {
    TRY(uses_.put_into_use(now));
    in_use_ = std::move(now);
    log::info("certificates", "the cluster's certificates were renewed");
  }
  return client::Requeue::in(kInterval);
}

}  // namespace skiff::cluster
