#include "events.hpp"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

namespace skiff::init {
namespace {

void control(int epoll, int operation, int fd, epoll_event* event) {
  if (epoll_ctl(epoll, operation, fd, event) < 0) perror("skiff-init: epoll_ctl");
}

}  // namespace

Events::Events() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (epoll_ < 0) {
    perror("skiff-init: epoll_create1");
    exit(1);
  }
}

void Events::watch(int fd, uint32_t events, Source& source) {
  epoll_event event{events, {&source}};
  control(epoll_, EPOLL_CTL_ADD, fd, &event);
}

void Events::change(int fd, uint32_t events, Source& source) {
  epoll_event event{events, {&source}};
  control(epoll_, EPOLL_CTL_MOD, fd, &event);
}

void Events::forget(int fd) { control(epoll_, EPOLL_CTL_DEL, fd, nullptr); }

void Events::run() {
  for (;;) {
    epoll_event event{};
    int got = epoll_wait(epoll_, &event, 1, -1);
    if (got < 0 && errno != EINTR) {
      perror("skiff-init: epoll_wait");
      exit(1);
    }
    if (got == 1) {
      auto* source = static_cast<Source*>(event.data.ptr);
      source->ready(*source, event.events);
    }
  }
}

}  // namespace skiff::init
