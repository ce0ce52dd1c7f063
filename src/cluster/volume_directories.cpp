#include "cluster/volume_directories.hpp"

#include <sys/stat.h>

#include <cerrno>

#include "sys/files.hpp"

namespace skiff::cluster {
namespace {

// One step below `parent`, and nothing that leads out again.
bool is_directly_in(const std::string& parent, const std::string& path) {
  if (!path.starts_with(parent + "/")) return false;
  const std::string name = path.substr(parent.size() + 1);
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos;
}

}  // namespace

Result<std::string> HostDirectories::make(const std::string& volume) {
  const std::string path = root_ + "/" + volume;
  if (!is_directly_in(root_, path)) return error(Code::Invalid, "'{}' is no name for a volume", volume);
  TRY(sys::make_directories(path, 0755));
  // Containers run as any user.
  if (::chmod(path.c_str(), 0777) < 0) return errno_error(errno, "chmod '{}'", path);
  return path;
}

Status HostDirectories::remove(const std::string& path) {
  // A volume object could name any path of the host. /tmp is where Kubernetes' own hostPath provisioner works.
  if (!is_directly_in(root_, path) && !is_directly_in("/tmp", path))
    return error(Code::Forbidden, "'{}' is not a directory of a volume", path);
  return sys::remove_tree(path);
}

Status HostDirectories::empty(const std::string& path) {
  if (path.find_first_not_of('/') == std::string::npos) return error(Code::Forbidden, "'/' is never emptied");
  TRY_ASSIGN(std::vector<std::string> names, sys::list_directory(path));
  for (const std::string& name : names) TRY(sys::remove_tree(path + "/" + name));
  return ok();
}

}  // namespace skiff::cluster
