#pragma once
// Options of an overlay mount. Layers are named by descriptor: the option string is limited to a page and may not
// contain ':' or ','.

#include <fcntl.h>

#include "memory.hpp"
#include "paths.hpp"

namespace skiff::init {

/// Holds the layers open until it goes; mount before.
class OverlayOptions {
 public:
  ~OverlayOptions() {
    for (int fd : layers_) close(fd);
  }
  /// Appends `prefix` ("lowerdir=", ":", ",upperdir=") and the directory's name. False with errno.
  bool add(const char* prefix, const char* path) {
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    layers_.push(fd);
    FdPath name(fd);
    text_.append(prefix, strlen(prefix));
    text_.append(name.text, strlen(name.text));
    return true;
  }
  const char* text() {
    text_.append("", 1);
    return text_.data();
  }

 private:
  Buffer text_;
  Array<int> layers_;
};

}  // namespace skiff::init
