#pragma once
// What the API server asks of this node: logs, exec, attach, port-forward.

#include "client/node_access.hpp"
#include "kubelet/pod_workers.hpp"
#include "kubelet/usage.hpp"

namespace skiff::kubelet {

class KubeletAccess final : public client::NodeAccess {
 public:
  KubeletAccess(const PodWorkers& workers, const PodRuntime& runtime, runtime::Node& node, UsageCollector& usage,
                Clock& clock)
      : workers_(workers), runtime_(runtime), node_(node), usage_(usage), clock_(clock) {}

  Status logs(const client::ObjectKey& pod, const client::LogOptions& options,
              const std::function<bool(std::string_view)>& write, std::stop_token stop) override;
  Result<std::unique_ptr<client::ExecSession>> exec(const client::ObjectKey& pod,
                                                    const client::ExecOptions& options) override;
  Result<std::unique_ptr<client::ExecSession>> attach(const client::ObjectKey& pod,
                                                      const client::ExecOptions& options) override;
  Result<client::NodeUsage> usage(const client::UsageQuery& query) override { return usage_.collect(query); }
  Result<UniqueFd> dial_pod(const client::ObjectKey& pod, std::uint16_t port) override;
  Result<UniqueFd> dial(const std::string& address, std::uint16_t port) override;

 private:
  Result<PodSnapshot> find_pod(const client::ObjectKey& key) const;
  Result<PodSnapshot::Container> running_container(const PodSnapshot& pod, const std::string& name) const;

  const PodWorkers& workers_;
  const PodRuntime& runtime_;
  runtime::Node& node_;
  UsageCollector& usage_;
  Clock& clock_;
};

/// The container meant by `name`: the only one when it is empty, or the annotated default. BadRequest in the
/// kubelet's words.
Result<std::string> choose_container(const api::Pod& pod, const std::string& name);

/// Which attempt's log `options` asks for. BadRequest: there is none, in the kubelet's words.
Result<int> choose_log(const api::Pod& pod, const std::string& container, bool previous);

}  // namespace skiff::kubelet
