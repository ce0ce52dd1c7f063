#pragma once
// The Pod Security Standards: which pods are privileged, baseline or restricted (k8s.io/pod-security-admission/policy).

#include <optional>
#include <string>
#include <vector>

#include "api/gen/pod.hpp"

namespace skiff::registry {

enum class SecurityLevel { Privileged, Baseline, Restricted };
std::optional<SecurityLevel> security_level(std::string_view text);

/// A level as it was in a version of Kubernetes: "restricted:latest", "baseline:v1.24".
struct SecurityPolicy {
  static constexpr int kLatest = 1000;

  SecurityLevel level = SecurityLevel::Privileged;
  int minor = kLatest;  // of v1.<minor>

  std::string text() const;
  bool operator==(const SecurityPolicy&) const = default;
};

/// The minor version of "v1.24" or "latest"; nothing for other text.
std::optional<int> security_version(std::string_view text);

struct Violation {
  std::string reason;  // `allowPrivilegeEscalation != false`
  std::string detail;  // `container "c" must set securityContext.allowPrivilegeEscalation=false`
};

/// In Kubernetes' order; empty when the pod keeps to the policy.
std::vector<Violation> security_violations(const SecurityPolicy& policy, const api::ObjectMeta& metadata,
                                           const api::PodSpec& spec);

}  // namespace skiff::registry
