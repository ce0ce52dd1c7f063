#include "kubelet/volumes.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

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

Status Volumes::mount_once(const std::string& path, const std::string& options) {
  TRY(sys::make_directories(path));
  TRY_ASSIGN(struct stat outside, sys::stat_of(path));
  TRY_ASSIGN(struct stat inside, sys::stat_of(node_.path(path)));
  if (outside.st_dev != inside.st_dev) return ok();  // mounted there by an earlier call
  return node_.mount_tmpfs(path, options);
}

Result<std::string> Volumes::set_up_one(const std::string& pod_directory, const api::Volume& volume,
                                        const FieldSource& source) {
  std::string path = pod_directory + "/volumes/" + volume.name;
  std::int64_t group = group_of(source.pod);
  if (volume.hostPath) {
    TRY(check_host_path(*volume.hostPath));
    return volume.hostPath->path;
  }
  if (has_files(volume)) {
    TRY_ASSIGN(VolumeFiles files, volume_files(volume, {source, client_, tokens_}));
    // Secrets and tokens never touch the disk.
    if (volume.configMap)
      TRY(sys::make_directories(path));
    else
      TRY(mount_once(path, "mode=0755"));
    TRY(write_volume(node_.path(path), files, random_, group));
    return path;
  }
  bool unknown = !volume.emptyDir;
  if (unknown) return error(Code::Invalid, "this kind of volume is not supported");
  if (volume.emptyDir->medium == "Memory") {
    const auto& limit = volume.emptyDir->sizeLimit;
    TRY(mount_once(
        path, limit && limit->value() > 0 ? fmt::format("mode=0777,size={}", limit->value()) : "mode=0777"));
  } else {
    TRY(sys::make_directories(path));
  }
  TRY(open_up(node_.path(path), group));
  return path;
}

Result<VolumePaths> Volumes::set_up(const std::string& pod_directory, const FieldSource& source) {
  VolumePaths paths;
  for (const api::Volume& volume : source.pod.spec.volumes) {
    Result<std::string> path = set_up_one(pod_directory, volume, source);
    if (!path.ok())
      return std::move(path).error().in(
          fmt::format("MountVolume.SetUp failed for volume \"{}\" ", volume.name));
    paths[volume.name] = std::move(path).value();
  }
  return paths;
}

Status Volumes::tear_down(const std::string& pod_directory, const std::string& pod_uid) {
  tokens_.forget(pod_uid);
  Result<std::vector<std::string>> names = sys::list_directory(pod_directory + "/volumes");
  if (!names.ok()) return names.error().code() == Code::NotFound ? ok() : Status(std::move(names).error());
  for (const std::string& name : names.value()) TRY(node_.unmount(pod_directory + "/volumes/" + name));
  return sys::remove_tree(pod_directory + "/volumes");
}

}  // namespace skiff::kubelet
