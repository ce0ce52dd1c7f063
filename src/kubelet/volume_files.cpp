#include "kubelet/volume_files.hpp"

#include <algorithm>

#include "api/gen/authentication.hpp"
#include "base/encoding.hpp"

namespace skiff::kubelet {
namespace {

constexpr int kDefaultMode = 0644;

using Entries = std::map<std::string, std::string>;

struct Wanted {
  std::string name;
  const std::vector<api::KeyToPath>& items;
  bool optional;
  int mode;
};

Entries entries_of(const api::ConfigMap& map) {
  Entries entries = map.data;
  for (const auto& [key, value] : map.binaryData) entries[key] = value.data;
  return entries;
}
Entries entries_of(const api::Secret& secret) {
  Entries entries;
  for (const auto& [key, value] : secret.data) entries[key] = value.data;
  return entries;
}

/// Adds the wanted entries of a ConfigMap or Secret.
template <class T>
Status add_object(const Wanted& wanted, const FileSources& sources, VolumeFiles& files) {
  constexpr bool is_secret = std::is_same_v<T, api::Secret>;
  Result<client::Ref<T>> object =
      sources.client.get<T>({sources.fields.pod.metadata.namespace_, wanted.name});
  if (!object.ok()) {
    if (object.error().code() != Code::NotFound) return std::move(object).error();
    if (wanted.optional) return ok();
    return error(Code::NotFound, "{} \"{}\" not found", is_secret ? "secret" : "configmap", wanted.name);
  }
  Entries entries = entries_of(*object.value());
  if (wanted.items.empty())
    for (const auto& [key, value] : entries) files[key] = {value, wanted.mode, {}};
  for (const api::KeyToPath& item : wanted.items) {
    auto found = entries.find(item.key);
    if (found != entries.end())
      files[item.path] = {found->second, item.mode.value_or(wanted.mode), {}};
    else if (!wanted.optional)
      return error(Code::NotFound, "references non-existent {} key: {}", is_secret ? "secret" : "config",
                   item.key);
  }
  return ok();
}

Status add_downward(const std::vector<api::DownwardAPIVolumeFile>& items, int mode,
                    const FileSources& sources, VolumeFiles& files) {
  for (const api::DownwardAPIVolumeFile& item : items) {
    std::string value;
    if (item.fieldRef) {
      TRY_ASSIGN(value, field_value(sources.fields, item.fieldRef->fieldPath));
    } else if (item.resourceFieldRef) {
      const api::Container* container =
          find_container(sources.fields.pod, item.resourceFieldRef->containerName);
      if (container == nullptr)
        return error(Code::Invalid, "container {} not found", item.resourceFieldRef->containerName);
      TRY_ASSIGN(value, resource_value(sources.fields, *container, *item.resourceFieldRef));
    }
    files[item.path] = {std::move(value), item.mode.value_or(mode), {}};
  }
  return ok();
}

/// The one user that all containers run as.
std::optional<std::uint32_t> common_user(const api::Pod& pod) {
  std::optional<std::int64_t> user;
  for (const auto* containers : {&pod.spec.initContainers, &pod.spec.containers}) {
    for (const api::Container& container : *containers) {
      std::optional<std::int64_t> own = container.securityContext ? container.securityContext->runAsUser : std::nullopt;
      if (!own && pod.spec.securityContext) own = pod.spec.securityContext->runAsUser;
      if (!own || (user && user != own)) return std::nullopt;
      user = own;
    }
  }
  return user ? std::optional(static_cast<std::uint32_t>(*user)) : std::nullopt;
}

/// A token is for its user alone where one is known, for the fsGroup too where there is one.
VolumeFile token_file(std::string token, int mode, const api::Pod& pod) {
  VolumeFile file{std::move(token), mode, common_user(pod)};
  bool grouped = pod.spec.securityContext && pod.spec.securityContext->fsGroup;
  if (file.owner || grouped) file.mode = 0600;
  return file;
}

Status add_projection(const api::VolumeProjection& source, int mode, const FileSources& sources,
                      VolumeFiles& files) {
  if (source.configMap)
    return add_object<api::ConfigMap>(
        {source.configMap->name, source.configMap->items, source.configMap->optional.value_or(false), mode},
        sources, files);
  if (source.secret)
    return add_object<api::Secret>(
        {source.secret->name, source.secret->items, source.secret->optional.value_or(false), mode}, sources,
        files);
  if (source.downwardAPI) return add_downward(source.downwardAPI->items, mode, sources, files);
  if (source.serviceAccountToken) {
    TRY_ASSIGN(std::string token, sources.tokens.token(sources.fields.pod, *source.serviceAccountToken));
    files[source.serviceAccountToken->path] = token_file(std::move(token), mode, sources.fields.pod);
    return ok();
  }
  return error(Code::Invalid, "this kind of projected volume source is not supported");
}

}  // namespace

Result<std::string> TokenCache::token(const api::Pod& pod,
                                      const api::ServiceAccountTokenProjection& projection) {
  std::string what = projection.audience + "/" + std::to_string(projection.expirationSeconds.value_or(3600));
  {
    MutexLock lock(mutex_);
    auto& known = tokens_[pod.metadata.uid];
    if (auto found = known.find(what); found != known.end() && clock_.now() < found->second.refresh_at)
      return found->second.text;
  }
  auto request = std::make_shared<api::TokenRequest>();
  if (!projection.audience.empty()) request->spec.audiences = {projection.audience};
  request->spec.expirationSeconds = projection.expirationSeconds.value_or(3600);
  api::BoundObjectReference bound;
  bound.kind = "Pod";
  bound.apiVersion = "v1";
  bound.name = pod.metadata.name;
  bound.uid = pod.metadata.uid;
  request->spec.boundObjectRef = bound;
  TRY_ASSIGN(client::AnyRef answer,
             client_.create_subresource(api::kind_of<api::ServiceAccount>(),
                                        {pod.metadata.namespace_, pod.spec.serviceAccountName}, "token",
                                        client::AnyRef(client::Ref<api::TokenRequest>(request))));
  client::Ref<api::TokenRequest> granted = answer.as<api::TokenRequest>();
  if (!granted)
    return error(Code::Internal, "no token came for service account {}", pod.spec.serviceAccountName);
  auto life = std::chrono::seconds(granted->spec.expirationSeconds.value_or(3600));
  MutexLock lock(mutex_);
  Duration fresh = std::min<Duration>(life * 4 / 5, std::chrono::hours(24));
  tokens_[pod.metadata.uid][what] = {granted->status.token, clock_.now() + fresh};
  return granted->status.token;
}

void TokenCache::forget(const std::string& pod_uid) {
  MutexLock lock(mutex_);
  tokens_.erase(pod_uid);
}

TimePoint TokenCache::next_refresh(const std::string& pod_uid) const {
  MutexLock lock(mutex_);
  TimePoint next = TimePoint::max();
  if (auto found = tokens_.find(pod_uid); found != tokens_.end())
    for (const auto& [what, token] : found->second) next = std::min(next, token.refresh_at);
  return next;
}

bool has_files(const api::Volume& volume) {
  return volume.configMap || volume.secret || volume.downwardAPI || volume.projected;
}

Result<VolumeFiles> volume_files(const api::Volume& volume, const FileSources& sources) {
  VolumeFiles files;
  if (volume.configMap) {
    const api::ConfigMapVolumeSource& source = *volume.configMap;
    TRY(add_object<api::ConfigMap>({source.name, source.items, source.optional.value_or(false),
                                    source.defaultMode.value_or(kDefaultMode)},
                                   sources, files));
  } else if (volume.secret) {
    const api::SecretVolumeSource& source = *volume.secret;
    TRY(add_object<api::Secret>({source.secretName, source.items, source.optional.value_or(false),
                                 source.defaultMode.value_or(kDefaultMode)},
                                sources, files));
  } else if (volume.downwardAPI) {
    TRY(add_downward(volume.downwardAPI->items, volume.downwardAPI->defaultMode.value_or(kDefaultMode),
                     sources, files));
  } else if (volume.projected) {
    for (const api::VolumeProjection& source : volume.projected->sources)
      TRY(add_projection(source, volume.projected->defaultMode.value_or(kDefaultMode), sources, files));
  }
  return files;
}

namespace {

bool volume_refers_to(const api::Volume& volume, bool secret, const std::string& name) {
  if (!secret && volume.configMap) return volume.configMap->name == name;
  if (secret && volume.secret) return volume.secret->secretName == name;
  if (!volume.projected) return false;
  return std::ranges::any_of(volume.projected->sources, [&](const api::VolumeProjection& source) {
    return secret ? source.secret && source.secret->name == name
                  : source.configMap && source.configMap->name == name;
  });
}

bool container_refers_to(const api::Container& container, bool secret, const std::string& name) {
  bool from = std::ranges::any_of(container.envFrom, [&](const api::EnvFromSource& source) {
    return secret ? source.secretRef && source.secretRef->name == name
                  : source.configMapRef && source.configMapRef->name == name;
  });
  return from || std::ranges::any_of(container.env, [&](const api::EnvVar& variable) {
           if (!variable.valueFrom) return false;
           return secret ? variable.valueFrom->secretKeyRef && variable.valueFrom->secretKeyRef->name == name
                         : variable.valueFrom->configMapKeyRef &&
                               variable.valueFrom->configMapKeyRef->name == name;
         });
}

}  // namespace

bool refers_to(const api::Pod& pod, bool secret, const std::string& name) {
  auto used_by = [&](const api::Container& container) {
    return container_refers_to(container, secret, name);
  };
  return std::ranges::any_of(
             pod.spec.volumes,
             [&](const api::Volume& volume) { return volume_refers_to(volume, secret, name); }) ||
         std::ranges::any_of(pod.spec.initContainers, used_by) ||
         std::ranges::any_of(pod.spec.containers, used_by);
}

}  // namespace skiff::kubelet
