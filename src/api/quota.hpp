#pragma once
// What objects count against ResourceQuotas (k8s.io/kubernetes/pkg/quota/v1/evaluator): asked by admission and by the
// controller that recounts.

#include <string>
#include <vector>

#include "api/gen/core.hpp"
#include "api/pods.hpp"

namespace skiff::api {

/// What one object of `kind` uses: `pods`, `requests.cpu`, `count/deployments.apps`, ... Pods that have finished are
/// only counted as stored objects.
ResourceList quota_usage(const KindInfo& kind, const void* object, Time now);

/// Whether `resource`, a key of spec.hard, is about objects of `kind` at all.
bool quota_counts(const KindInfo& kind, std::string_view resource);

/// Whether the quota's scopes let it count this object.
bool quota_covers(const ResourceQuota& quota, const KindInfo& kind, const void* object);

/// What a pod must state because a quota limits it: "must specify limits.cpu for: c1,c2; ...", or "".
std::string quota_demands(const Pod& pod, const ResourceList& hard);

/// `list` without the resources that `hard` does not have.
ResourceList masked(const ResourceList& list, const ResourceList& hard);
/// Adds, resource by resource; the suffix family follows the left operand.
void add_to(ResourceList& sum, const ResourceList& more);
void subtract_from(ResourceList& sum, const ResourceList& less);

}  // namespace skiff::api
