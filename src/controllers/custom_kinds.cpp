#include "controllers/custom_kinds.hpp"

#include <set>

#include "api/gen/apiextensions.hpp"

namespace skiff::controllers {

using api::CustomResourceDefinition;

CustomKinds::CustomKinds(const Context& context)
    : client_(context.client), clock_(context.clock), runner_(context.clock, *this) {
  // Which kinds there are, the client says: a definition that changes is only a reason to ask.
  context.informers.of<CustomResourceDefinition>().on_change(
      [this](const Ref<CustomResourceDefinition>&, const Ref<CustomResourceDefinition>&) { runner_.queue().add({}); });
}

CustomKinds::~CustomKinds() { stop(); }

void CustomKinds::start() {
  runner_.queue().add({});
  runner_.start();
}

void CustomKinds::stop() {
  runner_.stop();
  for (auto& [name, informer] : informers_) informer->stop();
}

Result<Requeue> CustomKinds::reconcile(const ObjectKey&) {
  std::set<std::string> served;
  for (const api::KindInfo* kind : client_.custom_kinds()) {
    std::string name = fmt::format("{}/{}", kind->group, kind->plural);
    served.insert(name);
    // A kind that is published anew keeps its informer: the objects are the same.
    if (!informers_.contains(name)) informers_[name] = watch(*kind);
  }
  std::erase_if(informers_, [&](const auto& one) { return !served.contains(one.first); });
  return Requeue::never();
}

std::unique_ptr<client::AnyInformer> CustomKinds::watch(const api::KindInfo& kind) {
  auto informer = std::make_unique<client::AnyInformer>(client_, clock_, kind);
  for (const client::AnyInformer::Handler& handler : handlers_) informer->on_change(handler);
  informer->start();
  return informer;
}

}  // namespace skiff::controllers
