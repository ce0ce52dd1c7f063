#pragma once
// Nodes that are only objects, for tests of scale: pods that are bound to them become Ready without containers.

#include <atomic>

#include "api/gen/nodes.hpp"
#include "api/gen/pod.hpp"
#include "client/client.hpp"
#include "client/controller.hpp"
#include "client/informer.hpp"
#include "cluster/state.hpp"

namespace skiff::cluster {

class FakeNodes final : public client::Reconciler {
 public:
  /// Registers informer handlers: before Informers::start().
  FakeNodes(client::Client& client, client::Informers& informers, Clock& clock, const Settings& settings);
  ~FakeNodes() override { stop(); }

  /// Makes sure that there are at least `count`, and plays kubelet for all there are.
  Status start(int count);
  void stop() { runner_.stop(); }

  std::string name() const override { return "fake-nodes"; }
  Result<client::Requeue> reconcile(const client::ObjectKey& pod) override;

 private:
  api::Node node(int index) const;
  Status run(const api::Pod& pod);
  std::string next_address();

  client::Client& client_;
  Clock& clock_;
  const Settings& settings_;
  client::Informer<api::Pod> pods_;
  client::Informer<api::Node> nodes_;
  std::atomic<std::uint32_t> addresses_{0};
  client::ControllerRunner runner_;
};

}  // namespace skiff::cluster
