#include "net/http_upstreams.hpp"

#include <sys/epoll.h>

#include <algorithm>

namespace skiff::net {
namespace {

constexpr size_t kMaxIdle = 1024;
constexpr size_t kMaxIdlePerServer = 128;
constexpr Duration kMaxAge = 20s;

}  // namespace

HttpUpstreams::~HttpUpstreams() { clear(); }

void HttpUpstreams::clear() {
  for (auto& [server, sockets] : idle_)
    for (Idle& one : sockets) loop_.unwatch(one.socket.get());
  idle_.clear();
  count_ = 0;
  if (sweep_ != 0) loop_.cancel(sweep_);
  sweep_ = 0;
}

UniqueFd HttpUpstreams::take(Endpoint server) {
  auto found = idle_.find(server);
  if (found == idle_.end()) return UniqueFd();
  UniqueFd socket = std::move(found->second.back().socket);
  found->second.pop_back();
  if (found->second.empty()) idle_.erase(found);
  --count_;
  return socket;
}

void HttpUpstreams::give(Endpoint server, UniqueFd socket) {
  std::deque<Idle>& sockets = idle_[server];
  int fd = socket.get();
  // Whatever a server says without being asked ends the connection.
  bool kept =
      count_ < kMaxIdle && sockets.size() < kMaxIdlePerServer &&
      loop_.watch(fd, EPOLLIN | EPOLLRDHUP, [this, server, fd](std::uint32_t) { drop(server, fd); }).ok();
  if (!kept) {
    loop_.unwatch(fd);
    if (sockets.empty()) idle_.erase(server);
    return;
  }
  sockets.push_back({std::move(socket), std::chrono::steady_clock::now()});
  ++count_;
  if (sweep_ == 0) sweep_ = loop_.after(kMaxAge, [this] { sweep(); });
}

void HttpUpstreams::drop(Endpoint server, int fd) {
  loop_.unwatch(fd);
  auto found = idle_.find(server);
  if (found == idle_.end()) return;
  count_ -= std::erase_if(found->second, [&](const Idle& one) { return one.socket.get() == fd; });
  if (found->second.empty()) idle_.erase(found);
}

void HttpUpstreams::sweep() {
  TimePoint oldest = std::chrono::steady_clock::now() - kMaxAge;
  for (auto server = idle_.begin(); server != idle_.end();) {
    std::deque<Idle>& sockets = server->second;
    while (!sockets.empty() && sockets.front().since <= oldest) {
      loop_.unwatch(sockets.front().socket.get());
      sockets.pop_front();
      --count_;
    }
    server = sockets.empty() ? idle_.erase(server) : std::next(server);
  }
  sweep_ = idle_.empty() ? 0 : loop_.after(kMaxAge, [this] { sweep(); });
}

}  // namespace skiff::net
