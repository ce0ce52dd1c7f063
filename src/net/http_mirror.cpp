#include "net/http_mirror.hpp"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "net/sockets.hpp"

namespace skiff::net {
namespace {

constexpr size_t kMaxUnsent = 1 << 20;
constexpr Duration kPatience = 10s;

}  // namespace

std::shared_ptr<HttpMirror> HttpMirror::open(EventLoop& loop, Endpoint server) {
  Result<UniqueFd> socket = open_socket(Protocol::Tcp, server.address.family);
  if (!socket.ok() || !connect_socket(socket.value(), server).ok()) return nullptr;
  auto mirror = std::make_shared<HttpMirror>(loop, std::move(socket).value());
  return mirror->start() ? mirror : nullptr;
}

// The loop's callback and timer hold the object.
bool HttpMirror::start() {
  timer_ = loop_.after(kPatience, [self = shared_from_this()] { self->close(); });
  watch();
  return static_cast<bool>(socket_);
}

void HttpMirror::send(std::string_view bytes) {
  if (!socket_) return;
  if (out_.size() + bytes.size() > kMaxUnsent) return close();
  bool idle = out_.empty();
  out_ += bytes;
  if (idle && !out_.empty()) watch();
}

void HttpMirror::watch() {
  std::uint32_t events = EPOLLIN | (out_.empty() ? 0U : std::uint32_t{EPOLLOUT});
  if (!loop_.watch(socket_.get(), events, [self = shared_from_this()](std::uint32_t e) { self->on_events(e); }).ok())
    close();
}

void HttpMirror::on_events(std::uint32_t events) {
  std::shared_ptr<HttpMirror> self = shared_from_this();  // close() lets go of the others
  if ((events & EPOLLOUT) != 0 && !out_.empty()) {
    ssize_t size = ::send(socket_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
    if (size < 0 && errno != EAGAIN && errno != EINTR) return close();
    if (size > 0) out_.erase(0, static_cast<size_t>(size));
    if (out_.empty()) watch();
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
  char buffer[16384];  // nobody reads the answer
  ssize_t size = ::recv(socket_.get(), buffer, sizeof buffer, 0);
  if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR)) close();
}

void HttpMirror::close() {
  if (!socket_) return;
  std::shared_ptr<HttpMirror> self = shared_from_this();
  loop_.unwatch(socket_.get());
  loop_.cancel(timer_);
  socket_.reset();
  out_.clear();
}

}  // namespace skiff::net
