#pragma once
// A copy of a request to a server whose answer nobody waits for.

#include <memory>
#include <string>
#include <string_view>

#include "base/event_loop.hpp"
#include "base/fd.hpp"
#include "net/address.hpp"

namespace skiff::net {

/// Lives on the loop's thread, until the server answered, failed, or took too long; the last copy of the pointer may
/// go before. A server that is slower than the client loses the request, and the client nothing.
class HttpMirror : public std::enable_shared_from_this<HttpMirror> {
 public:
  /// Null: no connection can be made.
  static std::shared_ptr<HttpMirror> open(EventLoop& loop, Endpoint server);
  explicit HttpMirror(EventLoop& loop, UniqueFd socket) : loop_(loop), socket_(std::move(socket)) {}
  void send(std::string_view bytes);

 private:
  bool start();
  void on_events(std::uint32_t events);
  void watch();
  void close();

  EventLoop& loop_;
  UniqueFd socket_;
  std::string out_;
  EventLoop::TimerId timer_ = 0;
};

}  // namespace skiff::net
