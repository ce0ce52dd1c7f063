#include "kubelet/sub_path.hpp"

#include <fcntl.h>

#include <algorithm>

#include "base/encoding.hpp"
#include "sys/beneath.hpp"
#include "sys/files.hpp"

namespace skiff::kubelet {

Status prepare_sub_path(const SubPath& wanted) {
  if (wanted.path.starts_with("/"))
    return error(Code::Invalid, "error SubPath `{}` must not be an absolute path", wanted.path);
  std::vector<std::string> parts = split(wanted.path, '/');
  if (std::ranges::find(parts, "..") != parts.end())
    return error(Code::Invalid, "unable to provision SubPath `{}`: must not contain '..'", wanted.path);
  // No details of the host's file system in what a user sees.
  auto refuse = [&](std::string_view doing) {
    return error(Code::Invalid, "failed to {} for volumeMount \"{}\" of container \"{}\"", doing, wanted.mount,
                 wanted.container);
  };
  TRY_ASSIGN(UniqueFd volume, sys::open(wanted.volume, O_PATH));
  Result<UniqueFd> found = sys::open_within(volume, wanted.path);
  if (found.ok()) return ok();
  if (found.error().sys_errno() != ENOENT) return refuse("prepare subPath");
  TRY_ASSIGN(struct stat root, sys::stat_of(wanted.volume));
  if (!sys::make_within(volume, wanted.path, root.st_mode & 0777).ok()) return refuse("create subPath directory");
  return ok();
}

}  // namespace skiff::kubelet
