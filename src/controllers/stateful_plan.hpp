#pragma once
// What a StatefulSet does next (pkg/controller/statefulset/stateful_set_control.go): pure.

#include <optional>
#include <string>
#include <vector>

#include "api/gen/apps.hpp"
#include "client/object.hpp"

namespace skiff::controllers {

/// The hashes of the template that is rolled out and of the one before; equal when no update is under way.
struct StatefulRevisions {
  std::string current, update;
};

struct StatefulPlan {
  struct New {
    int ordinal;
    std::string revision;
  };
  std::vector<New> create;
  std::vector<client::Ref<api::Pod>> remove;
};

/// The number at the end of a pod's name; nothing when it is not a name of this set.
std::optional<int> ordinal_of(const std::string& set, const std::string& pod);

StatefulPlan plan_stateful(const api::StatefulSet& set, const std::vector<client::Ref<api::Pod>>& pods,
                           const StatefulRevisions& revisions, api::Time now);
/// Counts; currentRevision moves to the update once all pods have it.
api::StatefulSetStatus stateful_status(const api::StatefulSet& set,
                                       const std::vector<client::Ref<api::Pod>>& pods,
                                       const StatefulRevisions& revisions, api::Time now);

}  // namespace skiff::controllers
