#pragma once
// ControllerRevisions: the templates a StatefulSet or DaemonSet has had (pkg/controller/history).

#include <string>
#include <vector>

#include "api/gen/apps.hpp"
#include "client/client.hpp"
#include "client/informer.hpp"
#include "controllers/ownership.hpp"

namespace skiff::controllers {

using Revision = client::Ref<api::ControllerRevision>;

/// The label on pods and revisions that names the template by its hash.
inline constexpr char kRevisionHash[] = "controller-revision-hash";

/// The hash under which `object` is labelled, or "".
std::string revision_hash(const api::ObjectMeta& object);
/// What kubectl's rollout commands read and apply.
std::string revision_data(const api::PodTemplateSpec& pod_template);
std::string hash_of(const api::PodTemplateSpec& pod_template);

/// The history of one owner. A short-lived view for one reconcile.
class History {
 public:
  template <class Owner>
  History(client::Client& client, const client::Informer<api::ControllerRevision>& revisions,
          const Owner& owner)
      : client_(client),
        owner_(client::controller_ref(owner)),
        key_(client::key_of(owner)),
        all_(revisions.owned_by(owner.metadata.uid)) {}

  /// The revision of `pod_template`, made, or moved to the front when it is not the newest. `labels` go on a
  /// new one.
  Result<Revision> ensure(const api::PodTemplateSpec& pod_template, const api::Labels& labels);
  /// Null when there is none of that hash.
  Revision find(const std::string& hash) const;
  /// Deletes the oldest beyond `limit`, leaving those whose hash is `in_use`.
  Status clean(std::int32_t limit, const std::vector<std::string>& in_use);

 private:
  client::Client& client_;
  const api::OwnerReference owner_;
  const client::ObjectKey key_;
  std::vector<Revision> all_;
};

/// The pod template that a revision holds.
Result<api::PodTemplateSpec> template_in(const api::ControllerRevision& revision);

}  // namespace skiff::controllers
