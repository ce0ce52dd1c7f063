// Empties a namespace that is being deleted and lets it go (pkg/controller/namespace).

#include <cstring>

#include "controllers/kinds.hpp"
#include "controllers/namespace_conditions.hpp"

#include "api/gen/core.hpp"
#include "api/gen/pod.hpp"

namespace skiff::controllers {
namespace {

constexpr char kFinalizer[] = "kubernetes";

bool has_verb(const api::KindInfo& kind, std::string_view verb) {
  std::string_view verbs = kind.verbs;
  for (size_t at = 0; at < verbs.size();) {
    size_t end = std::min(verbs.find(' ', at), verbs.size());
    if (verbs.substr(at, end - at) == verb) return true;
    at = end + 1;
  }
  return false;
}

class Namespaces final : public Controller {
 public:
  Namespaces(const Context& context, const Kinds& served, client::MetadataFeed& everything)
      : Controller(context, "namespace-controller", 2), namespaces_(context.informers.of<api::Namespace>()) {
    for (const api::KindInfo* kind : served)
      if (kind->namespaced && has_verb(*kind, "delete") && has_verb(*kind, "list")) content_.push_back(kind);
    // The last object to go wakes its namespace: nobody has to ask again and again.
    everything.on_change([this](const client::MetadataEvent& event) {
      if (event.type != client::WatchEvent::Type::Deleted) return;
      ObjectKey key{"", event.metadata->namespace_};
      if (is_going(namespaces_.get(key))) queue().add(key);
    });
    everything.on_gap([this] {
      for (const Ref<api::Namespace>& ns : namespaces_.list())
        if (is_going(ns)) queue().add(key_of(*ns));
    });
    namespaces_.on_change([this](const Ref<api::Namespace>&, const Ref<api::Namespace>& now) {
      if (is_going(now)) queue().add(key_of(*now));
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    if (!is_going(namespaces_.get(key))) return Requeue::never();
    Result<Ref<api::Namespace>> live = client_.get<api::Namespace>(key);
    if (!live.ok() && live.error().code() == Code::NotFound) return Requeue::never();
    TRY(live);
    const api::Namespace& ns = *live.value();
    if (!ns.metadata.deletionTimestamp || ns.spec.finalizers.empty()) return Requeue::never();
    NamespaceContent content = delete_content(key.name);
    TRY(write_status(key, content));
    if (!content.errors.empty())
      return error(Code::Internal, "deleting the content of namespace {}: {}", key.name,
                   content.errors.front());
    if (content.total() == 0) TRY(finalize(ns));
    return Requeue::never();
  }

 private:
  static bool is_going(const Ref<api::Namespace>& ns) { return ns && ns->metadata.deletionTimestamp; }

  // Pods first: what they still need while they stop (secrets, network policies) outlives them.
  NamespaceContent delete_content(const std::string& name) {
    NamespaceContent content;
    delete_kind(api::kind_of<api::Pod>(), name, content);
    if (content.total() > 0) return content;
    for (const api::KindInfo* kind : content_)
      if (kind != &api::kind_of<api::Pod>()) delete_kind(*kind, name, content);
    for (const api::KindInfo* kind : client_.custom_kinds())
      if (kind->namespaced) delete_kind(*kind, name, content);
    return content;
  }

  void delete_kind(const api::KindInfo& kind, const std::string& name, NamespaceContent& content) {
    Status deleted = delete_all(kind, name);
    if (!deleted.ok()) content.errors.push_back(deleted.error().message());
    Result<client::AnyList> left = client_.list(kind, {.namespace_ = name});
    if (!left.ok()) {
      content.errors.push_back(left.error().message());
      return;
    }
    if (left.value().items.empty()) return;
    content.remaining[fmt::format("{}.{}", kind.plural, kind.group)] +=
        static_cast<int>(left.value().items.size());
    for (const AnyRef& item : left.value().items)
      for (const std::string& finalizer : item.metadata().finalizers) ++content.finalizers[finalizer];
  }

  Status delete_all(const api::KindInfo& kind, const std::string& name) {
    TRY_ASSIGN(client::AnyList all, client_.list(kind, {.namespace_ = name}));
    for (const AnyRef& item : all.items) {
      if (item.metadata().deletionTimestamp) continue;
      Result<AnyRef> removed = client_.remove(kind, client::key_of(item.metadata()),
                                              {.propagation = "Background", .uid = item.metadata().uid});
      if (!removed.ok() && removed.error().code() != Code::NotFound) return std::move(removed).error();
    }
    return ok();
  }

  Status write_status(const ObjectKey& key, const NamespaceContent& content) {
    auto written = client_.update_with_retry<api::Namespace>(
        key,
        [&](api::Namespace& next) {
          bool moved = next.status.phase != "Terminating";
          next.status.phase = "Terminating";
          return set_deletion_conditions(next.status, content, wall_now()) || moved;
        },
        true);
    TRY(written);
    return ok();
  }

  Status finalize(const api::Namespace& ns) {
    std::string left;
    for (const std::string& finalizer : ns.spec.finalizers)
      if (finalizer != kFinalizer) left += fmt::format("{}\"{}\"", left.empty() ? "" : ",", finalizer);
    Result<AnyRef> done = client_.patch(api::kind_of<api::Namespace>(), key_of(ns), client::PatchType::Merge,
                                        fmt::format(R"({{"spec":{{"finalizers":[{}]}}}})", left), "finalize");
    if (done.ok() || done.error().code() == Code::NotFound) return ok();
    return std::move(done).error();
  }

  client::Informer<api::Namespace> namespaces_;
  Kinds content_;
};

}  // namespace

std::unique_ptr<Controller> namespaces(const Context& context, const Kinds& served, client::MetadataFeed& everything) {
  return std::make_unique<Namespaces>(context, served, everything);
}

}  // namespace skiff::controllers
