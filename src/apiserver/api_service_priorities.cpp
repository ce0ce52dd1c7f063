#include "apiserver/api_service_priorities.hpp"

#include <array>

namespace skiff::apiserver {

namespace {

struct GroupPriority {
  std::string_view group;
  std::int32_t priority;
};

// What kube-apiserver gives its groups. apiregistration.k8s.io has no APIService; it is always the first.
constexpr std::array<GroupPriority, 24> kGroups{{{"", 18000},
                                                 {"apiregistration.k8s.io", 17900},
                                                 {"apps", 17800},
                                                 {"events.k8s.io", 17750},
                                                 {"authentication.k8s.io", 17700},
                                                 {"authorization.k8s.io", 17600},
                                                 {"autoscaling", 17500},
                                                 {"batch", 17400},
                                                 {"certificates.k8s.io", 17300},
                                                 {"networking.k8s.io", 17200},
                                                 {"extensions", 17150},
                                                 {"policy", 17100},
                                                 {"rbac.authorization.k8s.io", 17000},
                                                 {"storage.k8s.io", 16800},
                                                 {"storagemigration.k8s.io", 16800},
                                                 {"admissionregistration.k8s.io", 16700},
                                                 {"apiextensions.k8s.io", 16700},
                                                 {"scheduling.k8s.io", 16600},
                                                 {"coordination.k8s.io", 16500},
                                                 {"node.k8s.io", 16300},
                                                 {"discovery.k8s.io", 16200},
                                                 {"flowcontrol.apiserver.k8s.io", 16100},
                                                 {"internal.apiserver.k8s.io", 16000},
                                                 {"resource.k8s.io", 15900}}};

constexpr ApiServicePriority kCustom{1000, 100};

}  // namespace

ApiServicePriority local_priority(std::string_view group, std::string_view version) {
  for (const GroupPriority& known : kGroups) {
    if (known.group != group) continue;
    if (group.empty()) return {known.priority, 1};
    if (version.find("alpha") != version.npos) return {known.priority, 1};
    if (version.find("beta") != version.npos) return {known.priority, 9};
    if (group == "flowcontrol.apiserver.k8s.io") return {known.priority, 21};
    return {known.priority, version == "v1" ? 15 : 30};
  }
  return kCustom;
}

}  // namespace skiff::apiserver
