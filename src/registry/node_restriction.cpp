#include "registry/node_restriction.hpp"

#include <algorithm>
#include <array>
#include <set>

#include "api/gen/authentication.hpp"
#include "api/gen/coordination.hpp"
#include "api/gen/core.hpp"
#include "api/gen/nodes.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/policy.hpp"
#include "api/gen/resource.hpp"
#include "api/gen/storage.hpp"
#include "api/gen/volume.hpp"

namespace skiff::registry {
namespace {

constexpr std::string_view kNodePrefix = "system:node:";
constexpr char kMirror[] = "kubernetes.io/config.mirror";
constexpr std::string_view kRestricted = "node-restriction.kubernetes.io";

/// The node that asks, and what it asks.
struct Asked {
  const Attributes& attributes;
  std::string node;

  template <class... Args>
  Error refuse(fmt::format_string<Args...> text, Args&&... args) const {
    return forbidden(attributes, fmt::format(text, std::forward<Args>(args)...));
  }
  std::string quoted() const { return api::quote(node); }
  /// The object, of whatever subresource.
  template <class T>
  const T* object() const {
    bool fits = attributes.object != nullptr && attributes.object->kind == &api::kind_of<T>();
    return fits ? static_cast<const T*>(attributes.object->value.get()) : nullptr;
  }
  Result<client::Ref<api::Pod>> pod(const std::string& name) const {
    Result<client::Ref<api::Pod>> pod = attributes.context.cluster.get<api::Pod>({attributes.key.namespace_, name});
    if (!pod.ok() && pod.error().code() != Code::NotFound) return refuse("{}", pod.error().message());
    return pod;
  }
};

// ---- Pods

template <class Source>
bool names_any(const std::vector<api::Volume>& volumes, Source source) {
  return std::ranges::any_of(volumes, [&](const api::Volume& volume) {
    return source(volume) || (volume.projected && std::ranges::any_of(volume.projected->sources, source));
  });
}

template <class EnvSource, class VariableSource>
bool environment_names(const api::PodSpec& spec, EnvSource from_all, VariableSource from_one) {
  auto any = [&](const auto& containers) {
    return std::ranges::any_of(containers, [&](const auto& container) {
      return std::ranges::any_of(container.envFrom, from_all) ||
             std::ranges::any_of(container.env, [&](const api::EnvVar& one) {
               return one.valueFrom && from_one(*one.valueFrom);
             });
    });
  };
  return any(spec.initContainers) || any(spec.containers) || any(spec.ephemeralContainers);
}

bool volume_has_secret(const api::Volume& volume) {
  auto by_reference = [](const auto& source) { return source && source->secretRef; };
  return volume.secret || volume.azureFile || volume.scaleIO || by_reference(volume.cephfs) ||
         by_reference(volume.cinder) || by_reference(volume.flexVolume) || by_reference(volume.iscsi) ||
         by_reference(volume.rbd) || by_reference(volume.storageos) || (volume.csi && volume.csi->nodePublishSecretRef);
}

bool names_secrets(const api::PodSpec& spec) {
  auto in_projection = [](const auto& source) { return static_cast<bool>(source.secret); };
  return !spec.imagePullSecrets.empty() || std::ranges::any_of(spec.volumes, volume_has_secret) ||
         names_any(spec.volumes, in_projection) ||
         environment_names(
             spec, [](const api::EnvFromSource& source) { return static_cast<bool>(source.secretRef); },
             [](const api::EnvVarSource& source) { return static_cast<bool>(source.secretKeyRef); });
}

bool names_config_maps(const api::PodSpec& spec) {
  return names_any(spec.volumes, [](const auto& source) { return static_cast<bool>(source.configMap); }) ||
         environment_names(
             spec, [](const api::EnvFromSource& source) { return static_cast<bool>(source.configMapRef); },
             [](const api::EnvVarSource& source) { return static_cast<bool>(source.configMapKeyRef); });
}

bool has_projection(const api::PodSpec& spec, bool (*wanted)(const api::VolumeProjection&)) {
  return std::ranges::any_of(spec.volumes, [&](const api::Volume& volume) {
    return volume.projected && std::ranges::any_of(volume.projected->sources, wanted);
  });
}

// A mirror pod stands for something that the node runs by itself: it cannot bring objects of the API along.
Status check_references(const Asked& asked, const api::PodSpec& spec) {
  auto refuse = [&](const char* what) {
    return asked.refuse("node {} can not create pods that reference {}", asked.quoted(), what);
  };
  if (!spec.serviceAccountName.empty()) return refuse("a service account");
  if (names_secrets(spec)) return refuse("secrets");
  if (names_config_maps(spec)) return refuse("configmaps");
  if (has_projection(spec, [](const auto& one) { return static_cast<bool>(one.serviceAccountToken); }))
    return refuse("a service account token");
  if (has_projection(spec, [](const auto& one) { return static_cast<bool>(one.clusterTrustBundle); }))
    return refuse("clustertrustbundles");
  auto claims = [](const api::Volume& volume) { return volume.persistentVolumeClaim || volume.ephemeral; };
  if (std::ranges::any_of(spec.volumes, claims)) return refuse("persistentvolumeclaims");
  if (!spec.resourceClaims.empty()) return refuse("resourceclaims");
  return ok();
}

Status check_owner(const Asked& asked, const std::vector<api::OwnerReference>& owners) {
  if (owners.size() > 1)
    return asked.refuse("node {} can only create pods with a single owner reference set to itself", asked.quoted());
  bool own = owners.size() == 1 && owners[0].apiVersion == "v1" && owners[0].kind == "Node" &&
             owners[0].name == asked.node;
  if (!own) return asked.refuse("node {} can only create pods with an owner reference set to itself", asked.quoted());
  const api::OwnerReference& owner = owners[0];
  if (!owner.controller.value_or(false))
    return asked.refuse("node {} can only create pods with a controller owner reference set to itself", asked.quoted());
  if (owner.blockOwnerDeletion.value_or(false))
    return asked.refuse("node {} must not set blockOwnerDeletion on an owner reference", asked.quoted());
  Result<client::Ref<api::Node>> node = asked.attributes.context.cluster.get<api::Node>({"", asked.node});
  if (!node.ok()) {
    if (node.error().code() == Code::NotFound) return std::move(node).error();
    return asked.refuse("{}", node.error().message());
  }
  if (owner.uid != node.value()->metadata.uid)
    return asked.refuse("node {} UID mismatch: expected {} got {}", asked.node, owner.uid, node.value()->metadata.uid);
  return ok();
}

Status check_pod_create(const Asked& asked) {
  const auto* pod = asked.object<api::Pod>();
  if (pod == nullptr) return asked.refuse("unexpected type");
  if (!pod->metadata.annotations.contains(kMirror))
    return asked.refuse("pod does not have {} annotation, node {} can only create mirror pods", api::quote(kMirror),
                        asked.quoted());
  if (pod->spec.nodeName != asked.node)
    return asked.refuse("node {} can only create pods with spec.nodeName set to itself", asked.quoted());
  TRY(check_owner(asked, pod->metadata.ownerReferences));
  return check_references(asked, pod->spec);
}

Status check_pod(const Asked& asked) {
  switch (asked.attributes.operation) {
    case Operation::Create:
      return check_pod_create(asked);
    case Operation::Delete: {
      TRY_ASSIGN(client::Ref<api::Pod> pod, asked.pod(asked.attributes.key.name));
      if (pod->spec.nodeName == asked.node) return ok();
      return asked.refuse("node {} can only delete pods with spec.nodeName set to itself", asked.quoted());
    }
    default:
      return asked.refuse("unexpected operation {}, node {} can only create and delete mirror pods",
                          api::quote(to_string(asked.attributes.operation)), asked.quoted());
  }
}

Status check_pod_status(const Asked& asked) {
  const auto* next = asked.object<api::Pod>();
  const auto* old = asked.attributes.old_as<api::Pod>();
  if (asked.attributes.operation != Operation::Update || next == nullptr || old == nullptr)
    return asked.refuse("unexpected operation {}", api::quote(to_string(asked.attributes.operation)));
  if (old->spec.nodeName != asked.node)
    return asked.refuse("node {} can only update pod status for pods with spec.nodeName set to itself", asked.quoted());
  if (old->metadata.labels != next->metadata.labels)
    return asked.refuse("node {} cannot update labels through pod status", asked.quoted());
  if (old->status.resourceClaimStatuses != next->status.resourceClaimStatuses)
    return asked.refuse("node {} cannot update resource claim statuses", asked.quoted());
  return ok();
}

Status check_eviction(const Asked& asked) {
  if (asked.attributes.operation != Operation::Create)
    return asked.refuse("unexpected operation {}", to_string(asked.attributes.operation));
  std::string name = asked.attributes.key.name;
  if (const auto* eviction = asked.object<api::Eviction>(); name.empty() && eviction) name = eviction->metadata.name;
  if (name.empty()) return asked.refuse("could not determine pod from request data");
  TRY_ASSIGN(client::Ref<api::Pod> pod, asked.pod(name));
  if (pod->spec.nodeName == asked.node) return ok();
  return asked.refuse("node {} can only evict pods with spec.nodeName set to itself", asked.node);
}

// ---- Nodes

bool is_below(std::string_view name, std::string_view domain) {
  if (name == domain) return true;
  return name.size() > domain.size() && name.ends_with(domain) && name[name.size() - domain.size() - 1] == '.';
}

// What kubelets are known to set of the names that are Kubernetes' own.
bool is_kubelet_label(std::string_view label, std::string_view domain) {
  static constexpr std::array<std::string_view, 11> kKnown{"kubernetes.io/hostname",
                                                           "topology.kubernetes.io/zone",
                                                           "topology.kubernetes.io/region",
                                                           "failure-domain.beta.kubernetes.io/zone",
                                                           "failure-domain.beta.kubernetes.io/region",
                                                           "node.kubernetes.io/instance-type",
                                                           "beta.kubernetes.io/instance-type",
                                                           "kubernetes.io/os",
                                                           "kubernetes.io/arch",
                                                           "beta.kubernetes.io/os",
                                                           "beta.kubernetes.io/arch"};
  return std::ranges::find(kKnown, label) != kKnown.end() || is_below(domain, "kubelet.kubernetes.io") ||
         is_below(domain, "node.kubernetes.io");
}

using Labels = std::map<std::string, std::string>;

std::string forbidden_labels(const Labels& next, const Labels& old) {
  std::set<std::string> changed;
  for (const auto& [label, value] : next)
    if (auto known = old.find(label); known == old.end() || known->second != value) changed.insert(label);
  for (const auto& [label, value] : old)
    if (!next.contains(label)) changed.insert(label);
  std::string list;
  for (const std::string& label : changed) {
    size_t slash = label.find('/');
    std::string_view domain = slash == label.npos ? std::string_view() : std::string_view(label).substr(0, slash);
    bool kubernetes = is_below(domain, "kubernetes.io") || is_below(domain, "k8s.io");
    if (!is_below(domain, kRestricted) && (!kubernetes || is_kubelet_label(label, domain))) continue;
    list += (list.empty() ? "" : ", ") + label;
  }
  return list;
}

Status check_node(const Asked& asked) {
  std::string name = asked.attributes.key.name;
  const auto* next = asked.object<api::Node>();
  const auto* old = asked.attributes.old_as<api::Node>();
  if (asked.attributes.operation == Operation::Create && next) {
    if (std::string labels = forbidden_labels(next->metadata.labels, {}); !labels.empty())
      return asked.refuse("node {} is not allowed to set the following labels: {}", asked.quoted(), labels);
    if (name.empty()) name = next->metadata.name;
  }
  if (name != asked.node)
    return asked.refuse("node {} is not allowed to modify node {}", asked.quoted(), api::quote(name));
  if (asked.attributes.operation != Operation::Update || !next || !old) return ok();
  if (next->spec.taints != old->spec.taints) return asked.refuse("node {} is not allowed to modify taints", asked.quoted());
  if (std::string labels = forbidden_labels(next->metadata.labels, old->metadata.labels); !labels.empty())
    return asked.refuse("is not allowed to modify labels: {}", labels);
  if (next->metadata.ownerReferences != old->metadata.ownerReferences)
    return asked.refuse("node {} is not allowed to modify ownerReferences", asked.quoted());
  return ok();
}

// ---- Claims, tokens, leases and the like

// A claim without what a node may say of it.
api::PersistentVolumeClaim without_growth(const api::PersistentVolumeClaim& claim) {
  api::PersistentVolumeClaim rest = claim;
  rest.metadata.resourceVersion.clear();
  rest.metadata.managedFields.clear();
  rest.status.capacity.clear();
  rest.status.conditions.clear();
  rest.status.allocatedResources.clear();
  rest.status.allocatedResourceStatuses.clear();
  return rest;
}

Status check_claim(const Asked& asked) {
  if (asked.attributes.subresource != "status") return asked.refuse("may only update PVC status");
  const auto* next = asked.object<api::PersistentVolumeClaim>();
  const auto* old = asked.attributes.old_as<api::PersistentVolumeClaim>();
  if (asked.attributes.operation != Operation::Update || next == nullptr || old == nullptr)
    return asked.refuse("unexpected operation {}", api::quote(to_string(asked.attributes.operation)));
  if (without_growth(*next) == without_growth(*old)) return ok();
  return asked.refuse("node {} is not allowed to update fields other than status.quantity and status.conditions",
                      asked.quoted());
}

bool driver_wants(const Asked& asked, const std::string& driver, const std::string& audience) {
  Result<client::Ref<api::CSIDriver>> found = asked.attributes.context.cluster.get<api::CSIDriver>({"", driver});
  return found.ok() && std::ranges::any_of(found.value()->spec.tokenRequests,
                                           [&](const auto& request) { return request.audience == audience; });
}

bool claim_wants(const Asked& asked, const std::string& claim, const std::string& audience) {
  client::Client& cluster = asked.attributes.context.cluster;
  Result<client::Ref<api::PersistentVolumeClaim>> found =
      cluster.get<api::PersistentVolumeClaim>({asked.attributes.key.namespace_, claim});
  if (!found.ok() || found.value()->spec.volumeName.empty()) return false;
  Result<client::Ref<api::PersistentVolume>> volume =
      cluster.get<api::PersistentVolume>({"", found.value()->spec.volumeName});
  return volume.ok() && volume.value()->spec.csi && driver_wants(asked, volume.value()->spec.csi->driver, audience);
}

bool pod_wants(const Asked& asked, const api::Pod& pod, const std::string& audience) {
  return std::ranges::any_of(pod.spec.volumes, [&](const api::Volume& volume) {
    if (volume.projected)
      return std::ranges::any_of(volume.projected->sources, [&](const api::VolumeProjection& source) {
        return source.serviceAccountToken && source.serviceAccountToken->audience == audience;
      });
    if (volume.csi) return driver_wants(asked, volume.csi->driver, audience);
    if (volume.ephemeral) return claim_wants(asked, pod.metadata.name + "-" + volume.name, audience);
    return volume.persistentVolumeClaim && claim_wants(asked, volume.persistentVolumeClaim->claimName, audience);
  });
}

// Tokens for audiences that no volume of the pod asks for, unless the node has been granted them.
Status check_audience(const Asked& asked, const api::TokenRequest& request, const api::Pod& pod) {
  if (request.spec.audiences.size() > 1) return asked.refuse("node may only request 0 or 1 audiences");
  std::string audience = request.spec.audiences.empty() ? "" : request.spec.audiences[0];
  if (pod_wants(asked, pod, audience)) return ok();
  const Attributes& attributes = asked.attributes;
  Verdict granted = attributes.context.authorizer.authorize({.user = attributes.context.request.user,
                                                             .verb = "request-serviceaccounts-token-audience",
                                                             .group = "",
                                                             .version = "v1",
                                                             .resource = audience,
                                                             .name = attributes.key.name,
                                                             .namespace_ = attributes.key.namespace_});
  if (granted.allowed()) return ok();
  return asked.refuse("audience {} not found in pod spec volume", api::quote(audience));
}

Status check_token(const Asked& asked) {
  if (asked.attributes.operation != Operation::Create || asked.attributes.subresource != "token") return ok();
  const auto* request = asked.object<api::TokenRequest>();
  if (request == nullptr) return asked.refuse("unexpected type");
  const auto& bound = request->spec.boundObjectRef;
  if (!bound || bound->apiVersion != "v1" || bound->kind != "Pod" || bound->name.empty())
    return asked.refuse("node requested token not bound to a pod");
  if (bound->uid.empty()) return asked.refuse("node requested token with a pod binding without a uid");
  TRY_ASSIGN(client::Ref<api::Pod> pod, asked.pod(bound->name));
  if (bound->uid != pod->metadata.uid)
    return asked.refuse(
        "the UID in the bound object reference ({}) does not match the UID in record. The object might have been "
        "deleted and then recreated",
        bound->uid);
  if (pod->spec.nodeName != asked.node)
    return asked.refuse("node requested token bound to a pod scheduled on a different node");
  return check_audience(asked, *request, *pod);
}

// On creation the URL has no name.
std::string name_of(const Asked& asked) {
  const Attributes& attributes = asked.attributes;
  if (attributes.operation != Operation::Create || attributes.object == nullptr) return attributes.key.name;
  return attributes.object->metadata().name;
}

Status check_lease(const Asked& asked) {
  if (asked.attributes.key.namespace_ != "kube-node-lease")
    return asked.refuse("can only access leases in the \"kube-node-lease\" system namespace");
  if (name_of(asked) == asked.node) return ok();
  return asked.refuse("can only access node lease with the same name as the requesting node");
}

Status check_csi_node(const Asked& asked) {
  if (name_of(asked) == asked.node) return ok();
  return asked.refuse("can only access CSINode with the same name as the requesting node");
}

Status check_resource_slice(const Asked& asked) {
  const auto* made = asked.object<api::ResourceSlice>();
  const auto* gone = asked.attributes.old_as<api::ResourceSlice>();
  bool creates = asked.attributes.operation == Operation::Create;
  if (!creates && asked.attributes.operation != Operation::Delete) return ok();
  const api::ResourceSlice* slice = creates ? made : gone;
  if (slice != nullptr && slice->spec.nodeName == asked.node) return ok();
  return asked.refuse("can only {} ResourceSlice with the same NodeName as the requesting node",
                      creates ? "create" : "delete");
}

Status check_pods(const Asked& asked) {
  const std::string& subresource = asked.attributes.subresource;
  if (subresource.empty()) return check_pod(asked);
  if (subresource == "status") return check_pod_status(asked);
  if (subresource == "eviction") return check_eviction(asked);
  return asked.refuse("unexpected pod subresource {}, only 'status' and 'eviction' are allowed",
                      api::quote(subresource));
}

}  // namespace

Status check_node_restriction(const Attributes& attributes) {
  const User& user = attributes.context.request.user;
  if (!user.name.starts_with(kNodePrefix) || !user.in_group("system:nodes")) return ok();
  Asked asked{attributes, user.name.substr(kNodePrefix.size())};
  if (asked.node.empty()) return asked.refuse("could not determine node from user {}", api::quote(user.name));
  const api::KindInfo* kind = attributes.resource.kind;
  if (kind == &api::kind_of<api::Pod>()) return check_pods(asked);
  if (kind == &api::kind_of<api::Node>()) return check_node(asked);
  if (kind == &api::kind_of<api::PersistentVolumeClaim>()) return check_claim(asked);
  if (kind == &api::kind_of<api::ServiceAccount>()) return check_token(asked);
  if (kind == &api::kind_of<api::Lease>()) return check_lease(asked);
  if (kind == &api::kind_of<api::CSINode>()) return check_csi_node(asked);
  if (kind == &api::kind_of<api::ResourceSlice>()) return check_resource_slice(asked);
  return ok();
}

}  // namespace skiff::registry
