#pragma once
// Certificates that are made anew before they end, while the cluster runs.

#include <functional>

#include "client/controller.hpp"
#include "cluster/identity.hpp"

namespace skiff::cluster {

/// Looks every hour, on one thread of its own: machines sleep, and their clocks jump.
class CertificateRenewal final : public client::Reconciler {
 public:
  struct Uses {
    std::function<Result<Leaves>(WallTime now)> establish;  // what is good at that moment
    std::function<Status(const Leaves&)> put_into_use;       // tried again until it succeeds
  };
  CertificateRenewal(Clock& clock, Leaves in_use, Uses uses);
  ~CertificateRenewal() override { stop(); }

  void start();
  void stop() { runner_.stop(); }

  std::string name() const override { return "certificate-renewal"; }
  Result<client::Requeue> reconcile(const client::ObjectKey& key) override;

 private:
  Clock& clock_;
  Leaves in_use_;
  Uses uses_;
  client::ControllerRunner runner_;
};

}  // namespace skiff::cluster
