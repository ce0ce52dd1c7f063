#pragma once
// What a Deployment's status says (pkg/controller/deployment/{progress,sync}.go): pure.

#include <optional>
#include <string>

#include "controllers/rollout.hpp"

namespace skiff::controllers {

const api::DeploymentCondition* find_condition(const api::DeploymentStatus& status, std::string_view type);
/// Sets a condition unless status and reason are as before; its transition time moves only with the status.
void set_condition(api::DeploymentStatus& status, api::DeploymentCondition condition);
api::DeploymentCondition progressing(std::string status, std::string reason, std::string message,
                                     api::Time now);

/// Rollouts without a deadline have no Progressing condition.
bool has_deadline(const api::Deployment& deployment);
/// `status`: all replicas are new, available, and of the newest generation.
bool is_complete(const api::Deployment& deployment, const api::DeploymentStatus& status);

/// Counts and the Available condition; `latest` may be null.
api::DeploymentStatus count_status(const api::Deployment& deployment, const Set& latest, const Sets& all,
                                   api::Time now);
/// The same with the conditions Progressing and ReplicaFailure of a rollout.
api::DeploymentStatus rollout_status(const api::Deployment& deployment, const Set& latest, const Sets& all,
                                     api::Time now);
/// When to look again whether the deadline has passed.
std::optional<WallTime> deadline(const api::Deployment& deployment, const api::DeploymentStatus& status);

}  // namespace skiff::controllers
