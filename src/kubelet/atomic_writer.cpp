#include "kubelet/atomic_writer.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "base/encoding.hpp"
#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

constexpr std::string_view kData = "..data";

std::string first_part(const std::string& path) { return path.substr(0, path.find('/')); }

bool is_safe(const std::string& path) {
  if (path.empty() || path.front() == '/' || path.starts_with("..")) return false;
  for (const std::string& part : split(path, '/'))
    if (part.empty() || part == "..") return false;
  return true;
}

/// With a group of its own the group may read what the owner may.
mode_t mode_of(const VolumeFile& file, std::int64_t group) {
  return static_cast<mode_t>(group >= 0 ? file.mode | (file.mode & 0400) >> 3 : file.mode);
}

bool is_current(const std::string& directory, const VolumeFiles& files, std::int64_t group) {
  std::string data = directory + "/" + std::string(kData);
  if (!sys::exists(data)) return false;
  for (const auto& [path, file] : files) {
    Result<std::string> content = sys::read_file(data + "/" + path);
    Result<struct stat> info = sys::stat_of(data + "/" + path);
    if (!content.ok() || !info.ok() || content.value() != file.content) return false;
    if ((info.value().st_mode & 07777) != mode_of(file, group)) return false;
    if (info.value().st_uid != file.owner.value_or(0)) return false;
  }
  // Names that went show as visible links without a file.
  std::set<std::string> wanted;
  for (const auto& [path, file] : files) wanted.insert(first_part(path));
  Result<std::vector<std::string>> names = sys::list_directory(directory);
  if (!names.ok()) return false;
  for (const std::string& name : names.value())
    if (!name.starts_with("..") && !wanted.contains(name)) return false;
  return true;
}

Status write_one(const std::string& path, const VolumeFile& file, std::int64_t group) {
  TRY(sys::make_directories(path.substr(0, path.rfind('/'))));
  TRY(sys::write_file(path, file.content, 0600));
  if (::chown(path.c_str(), file.owner.value_or(0), static_cast<gid_t>(group)) < 0)  // -1: it keeps its group
    return errno_error(errno, "chown '{}'", path);
  if (::chmod(path.c_str(), mode_of(file, group)) < 0) return errno_error(errno, "chmod '{}'", path);
  return ok();
}

/// Old timestamped directories and visible names that have no file any more.
Status remove_stale(const std::string& directory, const std::string& current, const VolumeFiles& files) {
  std::set<std::string> wanted;
  for (const auto& [path, file] : files) wanted.insert(first_part(path));
  TRY_ASSIGN(std::vector<std::string> names, sys::list_directory(directory));
  for (const std::string& name : names) {
    bool own = name == kData || name == current || wanted.contains(name);
    if (!own) TRY(sys::remove_tree(directory + "/" + name));
  }
  return ok();
}

}  // namespace

Status write_volume(const std::string& directory, const VolumeFiles& files, Random& random,
                    std::int64_t group) {
  for (const auto& [path, file] : files)
    if (!is_safe(path)) return error(Code::Invalid, "invalid path \"{}\" in the volume", path);
  if (is_current(directory, files, group)) return ok();
  std::string stamp = "..skiff_" + random.hex(8);
  TRY(sys::make_directory(directory + "/" + stamp));
  for (const auto& [path, file] : files) TRY(write_one(directory + "/" + stamp + "/" + path, file, group));
  // The one step that readers see.
  std::string draft = directory + "/..data_tmp";
  TRY(sys::remove_file(draft));
  TRY(sys::symlink(stamp, draft));
  TRY(sys::rename(draft, directory + "/" + std::string(kData)));
  for (const auto& [path, file] : files) {
    std::string name = first_part(path);
    std::string visible = directory + "/" + name;
    if (!sys::read_link(visible).ok()) TRY(sys::symlink(std::string(kData) + "/" + name, visible));
  }
  return remove_stale(directory, stamp, files);
}

}  // namespace skiff::kubelet
