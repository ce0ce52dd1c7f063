#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "controllers/controller.hpp"

namespace skiff::controllers {

/// Informers of custom resources, which come and go with their definitions. Handlers see the objects of all of them.
/// One worker; an informer's thread for each kind.
class CustomKinds final : public client::Reconciler {
 public:
  /// Before the informers are started.
  explicit CustomKinds(const Context& context);
  ~CustomKinds() override;

  /// Before start().
  void on_change(client::AnyInformer::Handler handler) { handlers_.push_back(std::move(handler)); }
  void start();
  void stop();

  std::string name() const override { return "custom-kinds"; }
  Result<client::Requeue> reconcile(const ObjectKey& key) override;

 private:
  std::unique_ptr<client::AnyInformer> watch(const api::KindInfo& kind);

  client::Client& client_;
  Clock& clock_;
  std::vector<client::AnyInformer::Handler> handlers_;                         // constant once started
  std::map<std::string, std::unique_ptr<client::AnyInformer>> informers_;      // by group and plural; the worker's
  client::ControllerRunner runner_;
};

}  // namespace skiff::controllers
