// What nodes and pods use now (metrics.k8s.io): measured when asked for, never stored.

#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"
#include "registry/usage_source.hpp"

namespace skiff::registry {
namespace {

template <class T>
std::vector<std::shared_ptr<void>> all_of(const std::function<std::vector<T>()>& source) {
  std::vector<std::shared_ptr<void>> all;
  if (!source) return all;
  for (T& one : source()) all.push_back(std::make_shared<T>(std::move(one)));
  return all;
}

}  // namespace

std::vector<Resource> usage_kinds(std::shared_ptr<const UsageSource> source) {
  std::vector<Resource> all{define<api::NodeMetrics>(), define<api::PodMetrics>()};
  for (Resource& resource : all) resource.strategy.stored = false;
  all[0].strategy.make_all = [source] { return all_of(source->nodes); };
  all[1].strategy.make_all = [source] { return all_of(source->pods); };
  return all;
}

}  // namespace skiff::registry
