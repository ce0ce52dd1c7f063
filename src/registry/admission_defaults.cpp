// Admission plugins for nodes, storage and Ingresses: TaintNodesByCondition, DefaultStorageClass, DefaultIngressClass, StorageObjectInUseProtection,
// PersistentVolumeClaimResize.

#include <algorithm>

#include "api/gen/networking.hpp"
#include "api/gen/nodes.hpp"
#include "api/gen/storage.hpp"
#include "api/gen/volume.hpp"
#include "registry/admission_plugins.hpp"

namespace skiff::registry {
namespace {

constexpr char kNotReady[] = "node.kubernetes.io/not-ready";
constexpr char kOldClassAnnotation[] = "volume.beta.kubernetes.io/storage-class";

template <class T>
T* created(const Attributes& attributes) {
  return attributes.operation == Operation::Create ? attributes.object_as<T>() : nullptr;
}

// The name of the newest class that is marked as the default one, or "".
template <class Class>
std::string default_class(const PluginContext& context, const char* annotation) {
  client::Ref<Class> chosen;
  for (const auto& one : all_of<Class>(context)) {
    auto mark = one->metadata.annotations.find(annotation);
    if (mark == one->metadata.annotations.end() || mark->second != "true") continue;
    if (!chosen || chosen->metadata.creationTimestamp < one->metadata.creationTimestamp) chosen = one;
  }
  return chosen ? chosen->metadata.name : "";
}

void add_finalizer(api::ObjectMeta& metadata, const char* finalizer) {
  auto& all = metadata.finalizers;
  if (std::find(all.begin(), all.end(), finalizer) == all.end()) all.emplace_back(finalizer);
}

}  // namespace

Status admit_node_taint(const PluginContext&, Attributes& attributes) {
  auto* node = created<api::Node>(attributes);
  if (node == nullptr) return ok();
  auto known = [](const api::Taint& taint) { return taint.key == kNotReady && taint.effect == "NoSchedule"; };
  if (std::ranges::any_of(node->spec.taints, known)) return ok();
  api::Taint taint;
  taint.key = kNotReady;
  taint.effect = "NoSchedule";
  node->spec.taints.push_back(std::move(taint));
  return ok();
}

Status admit_storage_class(const PluginContext& context, Attributes& attributes) {
  auto* claim = created<api::PersistentVolumeClaim>(attributes);
  if (claim == nullptr || claim->spec.storageClassName) return ok();
  if (claim->metadata.annotations.contains(kOldClassAnnotation)) return ok();
  std::string name = default_class<api::StorageClass>(context, "storageclass.kubernetes.io/is-default-class");
  if (!name.empty()) claim->spec.storageClassName = name;
  return ok();
}

Status admit_ingress_class(const PluginContext& context, Attributes& attributes) {
  auto* ingress = created<api::Ingress>(attributes);
  if (ingress == nullptr || ingress->spec.ingressClassName) return ok();
  if (ingress->metadata.annotations.contains("kubernetes.io/ingress.class")) return ok();
  std::string name = default_class<api::IngressClass>(context, "ingressclass.kubernetes.io/is-default-class");
  if (!name.empty()) ingress->spec.ingressClassName = name;
  return ok();
}

Status admit_storage_finalizers(const PluginContext&, Attributes& attributes) {
  if (auto* claim = created<api::PersistentVolumeClaim>(attributes))
    add_finalizer(claim->metadata, "kubernetes.io/pvc-protection");
  if (auto* volume = created<api::PersistentVolume>(attributes))
    add_finalizer(volume->metadata, "kubernetes.io/pv-protection");
  return ok();
}

Status check_claim_resize(const PluginContext&, const Attributes& attributes) {
  if (attributes.operation != Operation::Update) return ok();
  const auto* claim = attributes.object_as<api::PersistentVolumeClaim>();
  const auto* old = attributes.old_as<api::PersistentVolumeClaim>();
  if (claim == nullptr || old == nullptr) return ok();
  auto size = [](const api::PersistentVolumeClaim& one) {
    auto found = one.spec.resources.requests.find("storage");
    return found == one.spec.resources.requests.end() ? api::Quantity() : found->second;
  };
  if (!(size(*old) < size(*claim))) return ok();
  if (old->status.phase != "Bound") return forbidden(attributes, "Only bound persistent volume claims can be expanded");
  auto annotated = claim->metadata.annotations.find(kOldClassAnnotation);
  std::string name = annotated != claim->metadata.annotations.end() ? annotated->second
                                                                    : claim->spec.storageClassName.value_or("");
  auto found = attributes.context.cluster.get<api::StorageClass>({"", name});
  if (!name.empty() && found.ok() && found.value()->allowVolumeExpansion.value_or(false)) return ok();
  return forbidden(attributes, "only dynamically provisioned pvc can be resized and the storageclass that provisions the "
                               "pvc must support resize");
}

}  // namespace skiff::registry
