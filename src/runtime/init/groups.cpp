#include "groups.hpp"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

namespace skiff::init {

const char* join_groups(const Array<const char*>& directories) {
  const char* file = directories.size() > 1 ? "tasks" : "cgroup.procs";
  char path[4200];
  for (const char* directory : directories) {
    snprintf(path, sizeof path, "%s/%s", directory, file);
    Fd group(open(path, O_WRONLY | O_CLOEXEC));
    if (!group.valid() || write(group.get(), "0", 1) != 1) return directory;
  }
  return nullptr;
}

}  // namespace skiff::init
