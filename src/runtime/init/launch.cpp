#include "launch.hpp"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

#include "child.hpp"

namespace skiff::init {
namespace {

/// One message of the status socket with at most one descriptor. As recvmsg(2).
ssize_t receive(int socket, char* data, size_t size, Fd& descriptor) {
  iovec part{data, size};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  cmsghdr* header = got > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
    int fd = -1;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    descriptor.reset(fd);
  }
  return got;
}

}  // namespace

bool Launch::read_status() {
  char data[1100];
  for (;;) {
    Fd descriptor;
    ssize_t got = receive(status.get(), data, sizeof data - 1, descriptor);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return false;
    if (got <= 0) break;
    data[got] = '\0';
    switch (static_cast<Status>(data[0])) {
      case Status::Ready:
        ready = true;
        break;
      case Status::Warning:
        warnings.push(copy_text(data + 1));
        break;
      case Status::Identity:
        free(identity);
        identity = copy_text(data + 1);
        break;
      case Status::Terminal:
        terminal = static_cast<Fd&&>(descriptor);
        break;
      case Status::Failure:
        failed = true;
        memcpy(&error_number, data + 1, sizeof error_number);
        snprintf(error, sizeof error, "%s", data + 1 + sizeof error_number);
        break;
    }
  }
  if (!ready && !failed) {
    failed = true;
    snprintf(error, sizeof error, "the process was killed while it was being set up");
  }
  return true;
}

bool make_stdio(Stdio& stdio, bool wants_stdin) {
  for (int i = 0; i < 3; ++i) {
    if (i == 0 && !wants_stdin) {
      stdio.child[0].reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
      if (!stdio.child[0].valid()) return false;
      continue;
    }
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return false;
    stdio.child[i].reset(ends[i == 0 ? 0 : 1]);
    stdio.parent[i].reset(ends[i == 0 ? 1 : 0]);
  }
  return true;
}

}  // namespace skiff::init
