#include "net/relay_stream.hpp"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "net/sockets.hpp"

namespace skiff::net {
namespace {

constexpr size_t kChunk = 64 << 10;
constexpr int kClient = 0, kTarget = 1;

bool would_block() { return errno == EAGAIN || errno == EINTR; }

}  // namespace

RelayStream::~RelayStream() {
  for (Side& side : sides_)
    if (side.watched != 0) loop_.unwatch(side.socket.get());
}

Status RelayStream::start() {
  // Nothing is read from the client before the target stands: refusal there becomes a reset here.
  int fd = sides_[kTarget].socket.get();
  TRY(loop_.watch(fd, EPOLLOUT, [this](std::uint32_t events) { on_events(kTarget, events); }));
  sides_[kTarget].watched = EPOLLOUT;
  return ok();
}

void RelayStream::on_events(int side, std::uint32_t events) {
  if (!connected_) {
    if (pending_error(sides_[kTarget].socket) != 0) return end(true);
    connected_ = true;
  }
  bool readable = (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;
  if (readable && !sides_[side].at_end && !read_from(side)) return end(true);
  if (!flush_to(kClient) || !flush_to(kTarget)) return end(true);
  if (sides_[kClient].closed_towards && sides_[kTarget].closed_towards) return end(false);
  if (!watch(kClient) || !watch(kTarget)) return end(true);
}

bool RelayStream::read_from(int side) {
  Side& other = sides_[1 - side];
  if (!other.unsent.empty()) return true;  // not before the other side has taken what there is
  char buffer[kChunk];
  ssize_t size = ::recv(sides_[side].socket.get(), buffer, sizeof buffer, 0);
  if (size < 0) return would_block();
  if (size == 0) {
    sides_[side].at_end = true;
    return true;
  }
  ssize_t sent = ::send(other.socket.get(), buffer, static_cast<size_t>(size), MSG_NOSIGNAL);
  if (sent < 0 && !would_block()) return false;
  size_t taken = sent < 0 ? 0 : static_cast<size_t>(sent);
  other.unsent.assign(buffer + taken, static_cast<size_t>(size) - taken);
  return true;
}

bool RelayStream::flush_to(int side) {
  Side& to = sides_[side];
  if (!to.unsent.empty()) {
    ssize_t sent = ::send(to.socket.get(), to.unsent.data(), to.unsent.size(), MSG_NOSIGNAL);
    if (sent < 0) return would_block();
    to.unsent.erase(0, static_cast<size_t>(sent));
  }
  if (to.unsent.empty() && sides_[1 - side].at_end && !to.closed_towards) {
    ::shutdown(to.socket.get(), SHUT_WR);
    to.closed_towards = true;
  }
  return true;
}

bool RelayStream::watch(int side) {
  Side& one = sides_[side];
  bool reading = !one.at_end && sides_[1 - side].unsent.empty();
  std::uint32_t events =
      (reading ? std::uint32_t{EPOLLIN} : 0U) | (one.unsent.empty() ? 0U : std::uint32_t{EPOLLOUT});
  if (events == one.watched) return true;
  // A side with nothing to wait for is taken off: EPOLLHUP would wake us for ever.
  if (events == 0)
    loop_.unwatch(one.socket.get());
  else if (!loop_.watch(one.socket.get(), events, [this, side](std::uint32_t e) { on_events(side, e); }).ok())
    return false;
  one.watched = events;
  return true;
}

void RelayStream::end(bool broken) {
  linger reset{.l_onoff = 1, .l_linger = 0};
  if (broken)
    for (Side& side : sides_) ::setsockopt(side.socket.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  std::function<void()> on_end = std::move(on_end_);
  on_end();  // this object is gone after it
}

}  // namespace skiff::net
