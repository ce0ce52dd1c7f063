#pragma once
// How a Deployment moves from its old ReplicaSets to the new one: pure decisions
// (pkg/controller/deployment/{rolling,sync}.go and util/deployment_util.go).

#include <optional>
#include <string>
#include <vector>

#include "api/gen/apps.hpp"
#include "client/object.hpp"

namespace skiff::controllers {

using Set = client::Ref<api::ReplicaSet>;
using Sets = std::vector<Set>;

inline constexpr char kRevision[] = "deployment.kubernetes.io/revision";
inline constexpr char kRevisionHistory[] = "deployment.kubernetes.io/revision-history";
inline constexpr char kDesiredReplicas[] = "deployment.kubernetes.io/desired-replicas";
inline constexpr char kMaxReplicas[] = "deployment.kubernetes.io/max-replicas";
inline constexpr char kTemplateHash[] = "pod-template-hash";

struct Scaling {
  Set set;
  std::int32_t to;
};

/// How far a rolling update may go above and below the wanted number.
struct Fenceposts {
  std::int32_t surge = 0, unavailable = 0;
};
Fenceposts fenceposts(const api::Deployment& deployment);

std::int32_t replicas_of(const api::ReplicaSet& set);
std::int32_t sum_of_replicas(const Sets& sets);
Sets with_replicas(const Sets& sets);  // those that want pods

/// The oldest set with the deployment's template, or null.
Set find_new_set(const api::Deployment& deployment, const Sets& sets);
std::string template_hash(const api::PodTemplateSpec& pod_template, std::optional<std::int32_t> collisions);
std::int64_t revision_number(const api::ObjectMeta& metadata);

/// Whether every set's status is about what it wants now: until then nobody knows how many pods there are.
bool is_settled(const Sets& sets);
/// How many replicas the new set may want now, given what all sets (it included) want.
std::int32_t new_set_size(const api::Deployment& deployment, const Sets& all, std::int32_t current);
/// What old sets give up now: pods that are not available first, then what availability allows.
std::vector<Scaling> plan_old_sets(const api::Deployment& deployment, const Sets& old,
                                   const api::ReplicaSet& latest);
/// A change of the wanted number, spread over the sets in proportion while a rollout is under way.
std::vector<Scaling> plan_scale(const api::Deployment& deployment, const Set& latest, const Sets& old);
/// Whether a set was sized for another number than the deployment wants now.
bool is_scaling(const api::Deployment& deployment, const Sets& sets);

/// Annotations of a set: the deployment's own, its revision, and for which number it was sized.
bool set_size_annotations(api::ReplicaSet& set, const api::Deployment& deployment);
bool set_revision_annotations(api::ReplicaSet& set, const api::Deployment& deployment, std::int64_t revision);

/// The old sets beyond the history limit, oldest first, that nothing uses any more.
Sets expired_sets(const api::Deployment& deployment, const Sets& old);

}  // namespace skiff::controllers
