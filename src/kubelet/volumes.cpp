#include "kubelet/volumes.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "api/nodes.hpp"
#include "api/pods.hpp"
#include "base/encoding.hpp"
#include "kubelet/claims.hpp"
#include "kubelet/ownership.hpp"
#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

constexpr const char* kProvisionedBy = "pv.kubernetes.io/provisioned-by";

std::int64_t group_of(const api::Pod& pod) {
  return pod.spec.securityContext ? pod.spec.securityContext->fsGroup.value_or(-1) : -1;
}

/// emptyDir is for everybody; with an fsGroup it belongs to the group and so does what is made in it.
Status open_up(const std::string& path, std::int64_t group) {
  if (group >= 0 && ::chown(path.c_str(), static_cast<uid_t>(-1), static_cast<gid_t>(group)) < 0)
    return errno_error(errno, "chown '{}'", path);
  if (::chmod(path.c_str(), group >= 0 ? 02777 : 0777) < 0) return errno_error(errno, "chmod '{}'", path);
  return ok();
}

Status wrong_type(const std::string& path, std::string_view what) {
  return error(Code::Invalid, "hostPath type check failed: {} is not {}", path, what);
}

Error setup_failed(Error failure, const std::string& name) {
  return std::move(failure).in(fmt::format("MountVolume.SetUp failed for volume \"{}\" ", name));
}

/// A volume that the kubelet cannot even look at: what the pod waits for.
Error not_processed(const Error& failure, const std::string& name) {
  return Error(failure.code(),
               fmt::format("Unable to attach or mount volumes: unmounted volumes=[{0}], unattached volumes=[], failed "
                           "to process volumes=[{0}]: {1}",
                           name, failure.message()));
}

Result<std::string> page_size(const std::string& medium, const api::Pod& pod) {
  std::set<std::string> sizes;
  for (const auto* containers : {&pod.spec.initContainers, &pod.spec.containers})
    for (const api::Container& container : *containers)
      for (const auto& [name, amount] : container.resources.requests)
        if (name.starts_with("hugepages-")) sizes.insert(name.substr(10));
  if (medium.starts_with("HugePages-")) sizes = {medium.substr(10)};
  if (sizes.empty())
    return error(Code::Invalid, "emptyDir: medium {} needs a request for hugepages", medium);
  if (sizes.size() > 1)
    return error(Code::Invalid, "emptyDir: medium {} is ambiguous: the pod uses pages of several sizes", medium);
  TRY_ASSIGN(api::Quantity size, api::Quantity::parse(*sizes.begin()));
  return std::to_string(size.value());
}

}  // namespace

Status check_host_path(const api::HostPathVolumeSource& source) {
  const std::string type = source.type.value_or("");
  const std::string& path = source.path;
  Result<struct stat> info = sys::stat_of(path);
  mode_t format = info.ok() ? info.value().st_mode & S_IFMT : 0;
  if (type == "DirectoryOrCreate" || type.empty()) {
    if (!info.ok()) return sys::make_directories(path);
    return type.empty() || format == S_IFDIR ? ok() : wrong_type(path, "a directory");
  }
  if (type == "FileOrCreate") {
    if (!info.ok()) return sys::write_file(path, "");
    return format == S_IFREG ? ok() : wrong_type(path, "a file");
  }
  if (type == "Directory") return format == S_IFDIR ? ok() : wrong_type(path, "a directory");
  if (type == "File") return format == S_IFREG ? ok() : wrong_type(path, "a file");
  if (type == "Socket") return format == S_IFSOCK ? ok() : wrong_type(path, "a socket file");
  if (type == "CharDevice") return format == S_IFCHR ? ok() : wrong_type(path, "a character device");
  if (type == "BlockDevice") return format == S_IFBLK ? ok() : wrong_type(path, "a block device");
  return error(Code::Invalid, "{} is an invalid volume type", type);
}

std::int64_t memory_volume_bytes(const api::EmptyDirVolumeSource& source, const FieldSource& pod) {
  std::int64_t bytes = 0;
  auto at_most = [&](const api::Quantity& limit) {
    if (limit.value() > 0 && (bytes == 0 || limit.value() < bytes)) bytes = limit.value();
  };
  if (auto node = pod.allocatable.find("memory"); node != pod.allocatable.end()) at_most(node->second);
  // A pod is limited when all its containers are.
  bool limited = std::ranges::all_of(pod.pod.spec.containers, [](const api::Container& container) {
    return container.resources.limits.contains("memory");
  });
  api::ResourceList limits = api::limits_of_pod(pod.pod);
  if (auto memory = limits.find("memory"); limited && memory != limits.end()) at_most(memory->second);
  if (source.sizeLimit) at_most(*source.sizeLimit);
  return bytes;
}

Status Volumes::mount_once(const runtime::NodeMount& mount) {
  TRY(sys::make_directories(mount.target));
  TRY_ASSIGN(struct stat outside, sys::stat_of(mount.target));
  TRY_ASSIGN(struct stat inside, sys::stat_of(system_.node.path(mount.target)));
  if (outside.st_dev != inside.st_dev) return ok();  // mounted there by an earlier call
  return system_.node.mount(mount);
}

Result<MountedVolume> Volumes::set_up_files(const Place& place) {
  TRY_ASSIGN(VolumeFiles files, volume_files(place.volume, {place.source, system_.client, tokens_}));
  std::string path = place.path();
  // Secrets and tokens never touch the disk.
  if (place.volume.configMap)
    TRY(sys::make_directories(path));
  else
    TRY(mount_once({.target = path, .options = "mode=0755"}));
  TRY(write_volume(system_.node.path(path), files, system_.random, group_of(place.source.pod)));
  return MountedVolume{.path = path, .read_only = true};
}

Result<MountedVolume> Volumes::set_up_empty_dir(const Place& place) {
  const api::EmptyDirVolumeSource& source = *place.volume.emptyDir;
  std::string path = place.path();
  if (source.medium == "Memory") {
    std::int64_t bytes = memory_volume_bytes(source, place.source);
    TRY(mount_once({.target = path, .options = bytes > 0 ? fmt::format("mode=0777,size={}", bytes) : "mode=0777"}));
  } else if (source.medium.starts_with("HugePages")) {
    TRY_ASSIGN(std::string size, page_size(source.medium, place.source.pod));
    TRY(mount_once({.target = path, .type = "hugetlbfs", .options = "pagesize=" + size}));
  } else {
    TRY(sys::make_directories(path));
  }
  TRY(open_up(system_.node.path(path), group_of(place.source.pod)));
  return MountedVolume{.path = path};
}

Result<MountedVolume> Volumes::mount_nfs(const Place& place, const api::NFSVolumeSource& nfs,
                                         const std::vector<std::string>& options) {
  Result<std::string> known = sys::read_file("/proc/filesystems");
  if (!known.ok() || known.value().find("\tnfs4\n") == std::string::npos)
    return error(Code::Unavailable,
                 "mount failed: this kernel has no NFS client (nfs4 is not in /proc/filesystems): load the module nfsv4");
  std::string path = place.path();
  std::string all = "vers=4.2,addr=" + nfs.server + ",clientaddr=0.0.0.0";
  for (const std::string& option : options) all += "," + option;
  TRY(mount_once({.target = path,
                  .type = "nfs4",
                  .options = all,
                  .source = nfs.server + ":" + nfs.path,
                  .read_only = nfs.readOnly}));
  return MountedVolume{.path = path, .read_only = nfs.readOnly};
}

/// A local volume is on one node only; the scheduler knows, but a pod may name its node itself.
Status Volumes::check_affinity(const api::PersistentVolume& volume) const {
  const auto& affinity = volume.spec.nodeAffinity;
  if (!affinity || !affinity->required) return ok();
  TRY_ASSIGN(client::Ref<api::Node> node, system_.client.get<api::Node>({"", system_.node_name}));
  const auto& terms = affinity->required->nodeSelectorTerms;
  if (std::ranges::any_of(terms, [&](const auto& term) { return api::matches_term(term, *node); })) return ok();
  return error(Code::Invalid, "MountVolume.NodeAffinity check failed for volume \"{}\" : no matching NodeSelectorTerms",
               volume.metadata.name);
}

/// ReadWriteOncePod: the first pod keeps it until it is gone.
Status Volumes::reserve(const api::PersistentVolume& volume, const std::string& pod_uid) {
  MutexLock lock(mutex_);
  std::set<std::string>& users = users_[volume.metadata.name];
  bool exclusive = volume.spec.accessModes == std::vector<std::string>{"ReadWriteOncePod"};
  bool taken = exclusive && std::ranges::any_of(users, [&](const std::string& user) { return user != pod_uid; });
  if (taken)
    return error(Code::Conflict, "volume uses the ReadWriteOncePod access mode and is already in use by another pod");
  users.insert(pod_uid);
  return ok();
}

Result<MountedVolume> Volumes::mount_claim(const Place& place, const api::PersistentVolume& volume) {
  const api::PersistentVolumeSpec& spec = volume.spec;
  if (spec.csi)
    return error(Code::Unavailable, "kubernetes.io/csi: driver name {} not found in the list of registered CSI drivers",
                 spec.csi->driver);
  if (spec.nfs) return mount_nfs(place, *spec.nfs, spec.mountOptions);
  if (!spec.hostPath && !spec.local) return error(Code::Invalid, "no volume plugin matched");
  const std::string& path = spec.local ? spec.local->path : spec.hostPath->path;
  bool block = spec.volumeMode == "Block";
  if (spec.local && !sys::exists(path)) return error(Code::NotFound, "path \"{}\" does not exist", path);
  if (spec.hostPath && !block) TRY(check_host_path(*spec.hostPath));
  MountedVolume mounted{.path = path};
  if (block) {
    auto capacity = spec.capacity.find("storage");
    std::int64_t bytes = capacity == spec.capacity.end() ? 0 : capacity->second.value();
    TRY_ASSIGN(mounted.device, devices_.attach({place.pod_directory, place.volume.name, path, bytes}));
    return mounted;
  }
  // Once for a pod, not with every look at it. A directory that somebody wrote into a hostPath is not ours to change.
  std::string done = place.pod_directory + "/claims/" + place.volume.name;
  bool ours = spec.local || volume.metadata.annotations.contains(kProvisionedBy);
  std::int64_t group = group_of(place.source.pod);
  if (sys::exists(done)) return mounted;
  if (ours && group >= 0) {
    const std::string& policy = place.source.pod.spec.securityContext->fsGroupChangePolicy;
    TRY(give_to_group(system_.node.path(path), {.group = group, .only_on_mismatch = policy == "OnRootMismatch"}));
  }
  TRY(sys::make_directories(place.pod_directory + "/claims"));
  TRY(sys::write_file(done, volume.metadata.name));
  return mounted;
}

Result<MountedVolume> Volumes::set_up_claim(const Place& place) {
  Result<client::Ref<api::PersistentVolume>> found = find_volume(system_.client, place.source.pod, place.volume);
  if (!found.ok()) return not_processed(found.error(), place.volume.name);
  const api::PersistentVolume& volume = *found.value();
  TRY(check_affinity(volume));
  if (Status reserved = reserve(volume, place.source.pod.metadata.uid); !reserved.ok())
    return setup_failed(std::move(reserved).error(), volume.metadata.name);
  Result<MountedVolume> mounted = mount_claim(place, volume);
  if (!mounted.ok()) return setup_failed(std::move(mounted).error(), volume.metadata.name);
  MountedVolume result = std::move(mounted).value();
  if (place.volume.persistentVolumeClaim) result.read_only |= place.volume.persistentVolumeClaim->readOnly;
  return result;
}

Result<MountedVolume> Volumes::set_up_one(const Place& place) {
  const api::Volume& volume = place.volume;
  if (volume.persistentVolumeClaim || volume.ephemeral) return set_up_claim(place);
  auto made = [&]() -> Result<MountedVolume> {
    if (volume.hostPath) {
      TRY(check_host_path(*volume.hostPath));
      return MountedVolume{.path = volume.hostPath->path};
    }
    if (has_files(volume)) return set_up_files(place);
    if (volume.emptyDir) return set_up_empty_dir(place);
    if (volume.nfs) return mount_nfs(place, *volume.nfs, {});
    if (volume.csi)
      return error(Code::Unavailable, "driver name {} not found in the list of registered CSI drivers",
                   volume.csi->driver);
    return error(Code::Invalid, "no volume plugin matched");
  }();
  if (!made.ok()) return setup_failed(std::move(made).error(), volume.name);
  return made;
}

namespace {

// A volume that no container asks for is left alone, whatever is wrong with it.
bool is_used(const api::Pod& pod, const std::string& volume) {
  auto by = [&](const auto& containers) {
    return std::ranges::any_of(containers, [&](const auto& container) {
      return std::ranges::any_of(container.volumeMounts, [&](const auto& mount) { return mount.name == volume; }) ||
             std::ranges::any_of(container.volumeDevices, [&](const auto& device) { return device.name == volume; });
    });
  };
  return by(pod.spec.containers) || by(pod.spec.initContainers) || by(pod.spec.ephemeralContainers);
}

}  // namespace

Result<PodVolumes> Volumes::set_up(const std::string& pod_directory, const FieldSource& source) {
  PodVolumes volumes;
  for (const api::Volume& volume : source.pod.spec.volumes) {
    if (volume.image || !is_used(source.pod, volume.name)) continue;
    TRY_ASSIGN(volumes[volume.name], set_up_one({pod_directory, volume, source}));
  }
  return volumes;
}

Result<MountedVolume> Volumes::set_up_image(const std::string& pod_directory, const std::string& volume,
                                            const image::Image& image) {
  std::string path = pod_directory + "/volumes/" + volume;
  std::vector<std::string> layers = image.lower_dirs;
  std::string empty = system_.images.directory() + "/empty";
  bool bare = layers == std::vector<std::string>{empty};
  layers.push_back(empty);  // overlayfs wants two, and different ones
  Status mounted = bare ? mount_once({.target = path, .options = "mode=0755", .read_only = true})
                        : mount_once({.target = path, .type = "overlay", .layers = std::move(layers)});
  if (!mounted.ok()) return setup_failed(std::move(mounted).error(), volume);
  return MountedVolume{.path = path,
                       .read_only = true,
                       .device = {},
                       .image = image.digests.empty() ? image.id : image.digests.front()};
}

Status Volumes::tear_down(const std::string& pod_directory, const std::string& pod_uid) {
  tokens_.forget(pod_uid);
  {
    MutexLock lock(mutex_);
    for (auto& [name, users] : users_) users.erase(pod_uid);
    std::erase_if(users_, [](const auto& entry) { return entry.second.empty(); });
  }
  TRY(devices_.detach_all(pod_directory));
  TRY(sys::remove_tree(pod_directory + "/claims"));
  Result<std::vector<std::string>> names = sys::list_directory(pod_directory + "/volumes");
  if (!names.ok()) return names.error().code() == Code::NotFound ? ok() : Status(std::move(names).error());
  for (const std::string& name : names.value())
    TRY(system_.node.unmount(pod_directory + "/volumes/" + name));
  return sys::remove_tree(pod_directory + "/volumes");
}

}  // namespace skiff::kubelet
