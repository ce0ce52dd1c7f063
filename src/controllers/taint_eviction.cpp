// Removes pods from nodes with NoExecute taints that they do not tolerate, or no longer (pkg/controller/tainteviction).

#include <algorithm>
#include <optional>

#include "api/gen/pod.hpp"
#include "api/nodes.hpp"
#include "api/pods.hpp"
#include "client/event_recorder.hpp"
#include "controllers/kinds.hpp"

namespace skiff::controllers {
namespace {

constexpr char kByNode[] = "node";

std::vector<api::Taint> execute_taints(const api::Node& node) {
  std::vector<api::Taint> taints;
  for (const api::Taint& one : node.spec.taints)
    if (one.effect == "NoExecute") taints.push_back(one);
  return taints;
}

// How long the pod puts up with the taints: zero when with one not at all, nothing when forever.
std::optional<Duration> patience(const api::Pod& pod, const std::vector<api::Taint>& taints) {
  std::optional<Duration> least;
  for (const api::Taint& taint : taints) {
    auto found = std::find_if(pod.spec.tolerations.begin(), pod.spec.tolerations.end(),
                              [&](const api::Toleration& one) { return api::tolerates({one}, taint); });
    if (found == pod.spec.tolerations.end()) return Duration::zero();
    if (!found->tolerationSeconds) continue;
    Duration limit = std::chrono::seconds(std::max<std::int64_t>(*found->tolerationSeconds, 0));
    if (!least || limit < *least) least = limit;
  }
  return least;
}

class TaintEviction final : public Controller {
 public:
  explicit TaintEviction(const Context& context)
      : Controller(context, "taint-eviction-controller"),
        nodes_(context.informers.of<api::Node>()),
        pods_(context.informers.of<api::Pod>()),
        events_(context.client, context.clock, context.random, "taint-eviction-controller") {
    pods_.add_index(kByNode, [](const api::Pod& pod) {
      return pod.spec.nodeName.empty() ? std::vector<std::string>{} : std::vector<std::string>{pod.spec.nodeName};
    });
    nodes_.on_change([this](const Ref<api::Node>& before, const Ref<api::Node>& now) {
      const std::vector<api::Taint> none;
      if ((before ? execute_taints(*before) : none) == (now ? execute_taints(*now) : none)) return;
      for (const auto& pod : pods_.by_index(kByNode, (now ? now : before)->metadata.name)) queue().add(key_of(*pod));
    });
    pods_.on_change([this](const Ref<api::Pod>& before, const Ref<api::Pod>& now) {
      bool placed = now && !now->spec.nodeName.empty();
      bool same = before && placed && before->spec.nodeName == now->spec.nodeName &&
                  before->spec.tolerations == now->spec.tolerations && before->metadata.uid == now->metadata.uid;
      if (!same && (placed || before)) queue().add(key_of(now ? *now : *before));
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    Ref<api::Pod> pod = pods_.get(key);
    if (!pod || pod->metadata.deletionTimestamp || api::is_finished(*pod) || pod->spec.nodeName.empty()) {
      waiting_.erase(key);
      return Requeue::never();
    }
    Ref<api::Node> node = nodes_.get({"", pod->spec.nodeName});
    const std::vector<api::Taint> taints = node ? execute_taints(*node) : std::vector<api::Taint>();
    std::optional<Duration> limit = patience(*pod, taints);
    if (taints.empty() || !limit) {
      cancel(key, *pod);
      return Requeue::never();
    }
    auto [waiting, began] = waiting_.try_emplace(key, Waiting{pod->metadata.uid, clock_.now()});
    if (waiting->second.uid != pod->metadata.uid) waiting->second = {pod->metadata.uid, clock_.now()};
    Duration left = waiting->second.since + *limit - clock_.now();
    if (left > Duration::zero()) return Requeue::in(left);
    waiting_.erase(waiting);
    TRY(evict(pod));
    return Requeue::never();
  }

 private:
  struct Waiting {
    std::string uid;
    TimePoint since;
  };

  void cancel(const ObjectKey& key, const api::Pod& pod) {
    if (waiting_.erase(key) > 0)
      events_.normal(client::reference_to(std::make_shared<const api::Pod>(pod)), "TaintManagerEviction",
                     fmt::format("Cancelling deletion of Pod {}", key.str()));
  }

  Status evict(const Ref<api::Pod>& pod) {
    const ObjectKey key = key_of(*pod);
    events_.normal(client::reference_to(pod), "TaintManagerEviction", fmt::format("Marking for deletion Pod {}", key.str()));
    auto marked = client_.update_with_retry<api::Pod>(
        key,
        [&](api::Pod& next) {
          if (next.metadata.uid != pod->metadata.uid) return false;
          api::PodCondition condition;
          condition.type = "DisruptionTarget";
          condition.status = "True";
          condition.reason = "DeletionByTaintManager";
          condition.message = "Taint manager: deleting due to NoExecute taint";
          condition.observedGeneration = next.metadata.generation;
          condition.lastTransitionTime = wall_now();
          return api::set_condition(next.status, std::move(condition));
        },
        true);
    if (!marked.ok()) return marked.error().code() == Code::NotFound ? ok() : Status(marked.error());
    auto removed = client_.remove<api::Pod>(key, {.uid = pod->metadata.uid});
    return removed.ok() || removed.error().code() == Code::NotFound ? ok() : Status(removed.error());
  }

  client::Informer<api::Node> nodes_;
  client::Informer<api::Pod> pods_;
  client::EventRecorder events_;
  std::map<ObjectKey, Waiting> waiting_;  // the one worker's
};

}  // namespace

std::unique_ptr<Controller> taint_eviction(const Context& context) { return std::make_unique<TaintEviction>(context); }

}  // namespace skiff::controllers
