#pragma once
// Connections to servers behind the proxy that wait for their next request.

#include <deque>
#include <map>

#include "base/event_loop.hpp"
#include "base/fd.hpp"
#include "net/address.hpp"

namespace skiff::net {

/// Lives on the loop's thread.
class HttpUpstreams {
 public:
  explicit HttpUpstreams(EventLoop& loop) : loop_(loop) {}
  ~HttpUpstreams();

  /// A connection that stands, or none. It may still turn out that the server closed it just now.
  UniqueFd take(Endpoint server);
  void give(Endpoint server, UniqueFd socket);
  /// Ends all that wait.
  void clear();

 private:
  struct Idle {
    UniqueFd socket;
    TimePoint since;
  };
  void drop(Endpoint server, int fd);
  void sweep();

  EventLoop& loop_;
  std::map<Endpoint, std::deque<Idle>> idle_;  // the newest last
  size_t count_ = 0;
  EventLoop::TimerId sweep_ = 0;
};

}  // namespace skiff::net
