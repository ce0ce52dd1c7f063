#pragma once
// The one epoll loop. Sources are members of what they serve; the loop fetches one event at a time, so a
// callback may destroy any source, its own included.

#include <stdint.h>

namespace skiff::init {

struct Source {
  void (*ready)(Source& self, uint32_t events) = nullptr;
  void* owner = nullptr;
};

class Events {
 public:
  Events();
  /// Watches `fd` until forget(). Closing the descriptor is not enough: a child between clone and exec holds a copy
  /// of it, and the kernel would go on reporting events for a source that is gone.
  void watch(int fd, uint32_t events, Source& source);
  void change(int fd, uint32_t events, Source& source);
  void forget(int fd);
  [[noreturn]] void run();

 private:
  int epoll_;
};

}  // namespace skiff::init
