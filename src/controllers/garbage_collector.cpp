// Deletes what lost its last owner, and carries out foreground deletion and orphaning
// (pkg/controller/garbagecollector).

#include <cstring>
#include <set>

#include "controllers/kinds.hpp"
#include "controllers/owner_graph.hpp"

#include "api/gen/core.hpp"

namespace skiff::controllers {
namespace {

// Keys of the queue: what to do, and the UID it is about.
constexpr char kCheck[] = "check";
constexpr char kOrphan[] = "orphan";
constexpr int kMaxAttempts = 5;
constexpr size_t kMaxRemembered = 10'000;

struct Owners {
  std::vector<std::string> solid, dangling, waiting;  // UIDs
};

class GarbageCollector final : public Controller {
 public:
  GarbageCollector(const Context& context, const Kinds& served, client::MetadataFeed& everything)
      : Controller(context, "garbage-collector-controller", 4) {
    for (const api::KindInfo* kind : served)
      if (std::strstr(kind->verbs, "watch") && std::strstr(kind->verbs, "delete")) served_.push_back(kind);
    everything.on_change([this](const client::MetadataEvent& event) { changed(event); });
    everything.on_gap([this] {
      for (const std::string& uid : graph_.all()) queue().add({kCheck, uid});
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    std::optional<OwnedNode> node = graph_.find(key.name);
    if (!node) return Requeue::never();
    Result<AnyRef> live = client_.get(*node->kind, node->key);
    bool gone = !live.ok() && live.error().code() == Code::NotFound;
    if (gone || (live.ok() && live.value().metadata().uid != node->uid)) {
      add(graph_.remove(node->uid));  // the watch will say the same
      return Requeue::never();
    }
    TRY(live);
    TRY(key.namespace_ == kOrphan ? let_go(live.value()) : check(live.value()));
    return Requeue::never();
  }

 private:
  void changed(const client::MetadataEvent& event) {
    // Events own nothing, are owned by nothing and are many.
    if (event.kind == &api::kind_of<api::Event>()) return;
    if (event.type == client::WatchEvent::Type::Deleted) {
      // Once the definition of a custom kind is gone, nobody can be asked about what it defined.
      if (event.kind->type->open) remember(event.metadata->uid);
      add(graph_.remove(event.metadata->uid));
      return;
    }
    // Most objects neither have owners nor wait for dependents: the graph does without them.
    const api::ObjectMeta& metadata = *event.metadata;
    bool plain = metadata.ownerReferences.empty() && !metadata.deletionTimestamp;
    if (!plain || graph_.contains(metadata.uid)) add(graph_.put(node_of(*event.kind, metadata)));
  }

  void add(const GraphWork& work) {
    for (const std::string& uid : work.check) queue().add({kCheck, uid});
    for (const std::string& uid : work.orphan) queue().add({kOrphan, uid});
  }

  Status check(const AnyRef& object) {
    OwnedNode node = node_of(object.kind(), object.metadata());
    if (node.waits) return finish_foreground(object);
    if (node.deleting || node.owners.empty()) return ok();
    TRY_ASSIGN(Owners owners, classify(node));
    if (!owners.solid.empty()) {
      if (owners.dangling.empty() && owners.waiting.empty()) return ok();
      std::vector<std::string> useless = owners.dangling;
      useless.insert(useless.end(), owners.waiting.begin(), owners.waiting.end());
      return drop_owners(object, useless);
    }
    if (!owners.waiting.empty() && !graph_.dependents(node.uid).empty()) {
      TRY(unblock_circles(object));
      return remove(object, "Foreground");
    }
    return remove(object, policy_of(object));
  }

  // An owner is solid when it exists and does not wait to be deleted with its dependents.
  Result<Owners> classify(const OwnedNode& node) {
    Owners owners;
    for (const api::OwnerReference& owner : node.owners) {
      if (std::optional<OwnedNode> known = graph_.find(owner.uid)) {
        bool in_reach = !known->kind->namespaced || known->key.namespace_ == node.key.namespace_;
        if (in_reach) {
          (known->waits ? owners.waiting : owners.solid).push_back(owner.uid);
          continue;
        }
      }
      TRY_ASSIGN(std::optional<OwnedNode> live, look_up(owner, node.key.namespace_));
      if (!live)
        owners.dangling.push_back(owner.uid);
      else
        (live->waits ? owners.waiting : owners.solid).push_back(owner.uid);
    }
    return owners;
  }

  bool is_watched(const api::KindInfo* kind) const {
    return kind && (kind->type->open || std::find(served_.begin(), served_.end(), kind) != served_.end());
  }

  // The owner as the API has it; nothing when it does not exist. An owner of a kind that is not served counts
  // as existing: nobody can say that it does not.
  Result<std::optional<OwnedNode>> look_up(const api::OwnerReference& owner, const std::string& namespace_) {
    const api::KindInfo* kind = client_.find_kind(owner.apiVersion, owner.kind);
    if (!kind && is_known_gone(owner.uid)) return std::optional<OwnedNode>();
    if (!is_watched(kind)) return std::optional(OwnedNode());
    if (kind->namespaced && namespace_.empty()) return std::optional<OwnedNode>();
    Result<AnyRef> live = client_.get(*kind, {kind->namespaced ? namespace_ : "", owner.name});
    if (!live.ok() && live.error().code() == Code::NotFound) return std::optional<OwnedNode>();
    TRY(live);
    if (live.value().metadata().uid != owner.uid) return std::optional<OwnedNode>();
    return std::optional(node_of(live.value().kind(), live.value().metadata()));
  }

  Status finish_foreground(const AnyRef& object) {
    bool blocked = false;
    for (const OwnedNode& dependent : graph_.dependents(object.metadata().uid)) {
      for (const api::OwnerReference& owner : dependent.owners)
        if (owner.uid == object.metadata().uid) blocked |= owner.blockOwnerDeletion.value_or(false);
      if (!dependent.deleting) queue().add({kCheck, dependent.uid});
    }
    return blocked ? ok() : drop_finalizer(object, kForegroundFinalizer);
  }

  // Owners and dependents that wait for each other would wait for ever.
  Status unblock_circles(const AnyRef& object) {
    const std::string& uid = object.metadata().uid;
    for (const OwnedNode& dependent : graph_.dependents(uid)) {
      if (!dependent.waits) continue;
      return edit(object, [](api::ObjectMeta& metadata) {
        for (api::OwnerReference& owner : metadata.ownerReferences) owner.blockOwnerDeletion = false;
      });
    }
    return ok();
  }

  Status let_go(const AnyRef& owner) {
    if (!node_of(owner.kind(), owner.metadata()).orphans) return ok();
    for (const OwnedNode& dependent : graph_.dependents(owner.metadata().uid)) {
      Result<AnyRef> live = client_.get(*dependent.kind, dependent.key);
      if (!live.ok() && live.error().code() == Code::NotFound) continue;
      TRY(live);
      if (live.value().metadata().uid == dependent.uid)
        TRY(drop_owners(live.value(), {owner.metadata().uid}));
    }
    return drop_finalizer(owner, kOrphanFinalizer);
  }

  static std::string policy_of(const AnyRef& object) {
    const std::vector<std::string>& finalizers = object.metadata().finalizers;
    auto has = [&](const char* name) {
      return std::find(finalizers.begin(), finalizers.end(), name) != finalizers.end();
    };
    if (has(kOrphanFinalizer)) return "Orphan";
    return has(kForegroundFinalizer) ? "Foreground" : "Background";
  }

  Status remove(const AnyRef& object, const std::string& propagation) {
    const api::ObjectMeta& metadata = object.metadata();
    // The resourceVersion makes sure that no owner was added since.
    Result<AnyRef> removed = client_.remove(
        object.kind(), client::key_of(metadata),
        {.propagation = propagation, .uid = metadata.uid, .resource_version = metadata.resourceVersion});
    if (!removed.ok() && removed.error().code() != Code::NotFound) return std::move(removed).error();
    return ok();
  }

  Status drop_owners(const AnyRef& object, const std::vector<std::string>& uids) {
    return edit(object, [&](api::ObjectMeta& metadata) {
      std::erase_if(metadata.ownerReferences, [&](const api::OwnerReference& owner) {
        return std::find(uids.begin(), uids.end(), owner.uid) != uids.end();
      });
    });
  }

  Status drop_finalizer(const AnyRef& object, const char* finalizer) {
    return edit(object, [&](api::ObjectMeta& metadata) { std::erase(metadata.finalizers, finalizer); });
  }

  // Writes a changed copy back, again while others are faster: all that is changed here is taken away,
  // whatever else the object says by then.
  Status edit(const AnyRef& object, const std::function<void(api::ObjectMeta&)>& change) {
    AnyRef current = object;
    for (int attempt = 0;; ++attempt) {
      std::shared_ptr<void> copy = current.kind().type->ops->copy(current.get());
      change(*static_cast<api::ObjectMeta*>(copy.get()));
      Result<AnyRef> written = client_.update(AnyRef(current.kind(), copy));
      if (written.ok() || written.error().code() == Code::NotFound) return ok();
      if (written.error().code() != Code::Conflict || attempt == kMaxAttempts)
        return std::move(written).error();
      Result<AnyRef> live = client_.get(object.kind(), client::key_of(object.metadata()));
      bool gone = !live.ok() && live.error().code() == Code::NotFound;
      if (gone || (live.ok() && live.value().metadata().uid != object.metadata().uid)) return ok();
      TRY_ASSIGN(current, live);
    }
  }

  void remember(const std::string& uid) {
    MutexLock lock(gone_mutex_);
    if (gone_.size() >= kMaxRemembered) gone_.clear();
    gone_.insert(uid);
  }
  bool is_known_gone(const std::string& uid) {
    MutexLock lock(gone_mutex_);
    return gone_.contains(uid);
  }

  Kinds served_;
  OwnerGraph graph_;
  Mutex gone_mutex_;
  std::set<std::string> gone_ GUARDED_BY(gone_mutex_);  // UIDs of custom objects that were seen to go
};

}  // namespace

std::unique_ptr<Controller> garbage_collector(const Context& context, const Kinds& served, client::MetadataFeed& everything) {
  return std::make_unique<GarbageCollector>(context, served, everything);
}

}  // namespace skiff::controllers
