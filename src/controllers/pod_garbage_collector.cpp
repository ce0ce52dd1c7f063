// Removes the pods of nodes that no longer exist (pkg/controller/podgc).

#include "controllers/kinds.hpp"

#include "api/gen/nodes.hpp"
#include "api/gen/pod.hpp"
#include "api/pods.hpp"
#include "client/event_recorder.hpp"

namespace skiff::controllers {
namespace {

constexpr char kByNode[] = "node";
constexpr Duration kQuarantine = 40s;  // a node may only have been registered anew

class PodGarbageCollector final : public Controller {
 public:
  explicit PodGarbageCollector(const Context& context)
      : Controller(context, "pod-garbage-collector-controller"),
        pods_(context.informers.of<api::Pod>()),
        nodes_(context.informers.of<api::Node>()) {
    pods_.add_index(kByNode, [](const api::Pod& pod) {
      return pod.spec.nodeName.empty() ? std::vector<std::string>{}
                                       : std::vector<std::string>{pod.spec.nodeName};
    });
    nodes_.on_change([this](const Ref<api::Node>& before, const Ref<api::Node>& now) {
      if (!now) queue().add_after(key_of(*before), kQuarantine);
    });
    pods_.on_change([this](const Ref<api::Pod>& before, const Ref<api::Pod>& now) {
      bool placed = now && !now->spec.nodeName.empty() && (!before || before->spec.nodeName.empty());
      if (placed && !nodes_.get({"", now->spec.nodeName}))
        queue().add_after({"", now->spec.nodeName}, kQuarantine);
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    if (nodes_.get(key)) return Requeue::never();
    Result<Ref<api::Node>> live = client_.get<api::Node>(key);
    if (live.ok()) return Requeue::never();
    if (live.error().code() != Code::NotFound) return std::move(live).error();
    for (const Ref<api::Pod>& pod : pods_.by_index(kByNode, key.name)) TRY(remove(*pod));
    return Requeue::never();
  }

 private:
  Status remove(const api::Pod& pod) {
    auto marked = client_.update_with_retry<api::Pod>(
        key_of(pod),
        [&](api::Pod& next) {
          if (next.metadata.uid != pod.metadata.uid || api::is_finished(next)) return false;
          next.status.phase = "Failed";
          api::PodCondition condition;
          condition.type = "DisruptionTarget";
          condition.status = "True";
          condition.reason = "DeletionByPodGC";
          condition.message = "PodGC: node no longer exists";
          condition.lastTransitionTime = wall_now();
          api::set_condition(next.status, std::move(condition));
          return true;
        },
        true);
    if (!marked.ok() && marked.error().code() == Code::NotFound) return ok();
    TRY(marked);
    Result<AnyRef> removed =
        client_.remove<api::Pod>(key_of(pod), {.grace_seconds = 0, .uid = pod.metadata.uid});
    if (!removed.ok() && removed.error().code() != Code::NotFound) return std::move(removed).error();
    return ok();
  }

  client::Informer<api::Pod> pods_;
  client::Informer<api::Node> nodes_;
};

}  // namespace

std::unique_ptr<Controller> pod_garbage_collector(const Context& context) {
  return std::make_unique<PodGarbageCollector>(context);
}

}  // namespace skiff::controllers
