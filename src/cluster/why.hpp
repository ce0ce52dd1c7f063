#pragma once
// `skiff why`: what keeps a pod from running, from its owner to its probes, and what would help.

#include <string>
#include <vector>

#include "api/gen/apps.hpp"
#include "api/gen/core.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/volume.hpp"
#include "client/client.hpp"
#include "scheduler/explanation.hpp"

namespace skiff::scheduler {
class Scheduler;
}

namespace skiff::cluster {

/// Everything that is looked at.
struct WhyFacts {
  client::Ref<api::Pod> pod;
  std::vector<std::string> owners;  // "Deployment web: 1 of 3 ready", from the pod's own upwards
  scheduler::Refusal refusal;       // while it has no node
  std::vector<client::Ref<api::PersistentVolumeClaim>> claims;
  std::vector<std::string> missing_claims;
  std::vector<client::Ref<api::Event>> events;  // of the pod and its claims, oldest first
  bool node_ready = true;
};

/// The lines for a person. Pure.
std::vector<std::string> why_pod(const WhyFacts& facts);

/// Of a pod ("web-1"), or of a workload whose pods are missing ("deployment/web"). NotFound: neither.
Result<std::vector<std::string>> why(client::Client& client, const scheduler::Scheduler& scheduler,
                                     const std::string& namespace_, const std::string& name);

}  // namespace skiff::cluster
