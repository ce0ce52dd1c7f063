#pragma once
// What a probe or lifecycle hook does once: a command, an HTTP request, a connection, a pause.

#include "api/gen/pod.hpp"
#include "base/clock.hpp"
#include "runtime/node.hpp"

namespace skiff::kubelet {

/// Where a handler acts.
struct HandlerTarget {
  std::string container_id;
  api::Container container;  // for named ports
  std::string pod_ip;
};

struct CheckResult {
  bool success = false;
  std::string output;  // why not, or what the command printed
};

/// Any thread; blocks up to the timeout it is given.
class Handlers {
 public:
  Handlers(runtime::Node& node, Clock& clock) : node_(node), clock_(clock) {}

  CheckResult check(const api::Probe& probe, const HandlerTarget& target) const;
  /// postStart or preStop. The error is the text of the event.
  Status run(const api::LifecycleHandler& handler, const HandlerTarget& target, std::stop_token stop) const;

 private:
  CheckResult check_command(const api::ExecAction& action, const HandlerTarget& target,
                            Duration timeout) const;
  CheckResult check_grpc(const api::GRPCAction& action, const HandlerTarget& target, Duration timeout) const;
  CheckResult check_http(const api::HTTPGetAction& action, const HandlerTarget& target,
                         Duration timeout) const;
  Status notify(const api::HTTPGetAction& action, const HandlerTarget& target, std::stop_token stop) const;

  runtime::Node& node_;
  Clock& clock_;
};

/// The number of a port given by number or name. Invalid: the container has no such port.
Result<int> port_number(const api::IntOrString& port, const api::Container& container);

}  // namespace skiff::kubelet
