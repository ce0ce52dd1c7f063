#pragma once
// One relayed TCP connection: bytes both ways, each direction ending by itself.

#include <functional>
#include <string>

#include "base/event_loop.hpp"
#include "base/fd.hpp"

namespace skiff::net {

/// Lives on the loop's thread. `on_end` is called once, and may destroy the stream.
class RelayStream {
 public:
  RelayStream(EventLoop& loop, UniqueFd client, UniqueFd target, std::function<void()> on_end)
      : loop_(loop), sides_{{std::move(client)}, {std::move(target)}}, on_end_(std::move(on_end)) {}
  ~RelayStream();
  RelayStream(const RelayStream&) = delete;
  RelayStream& operator=(const RelayStream&) = delete;

  Status start();

 private:
  struct Side {
    UniqueFd socket;
    std::string unsent;           // for this side, while it does not take more
    bool at_end = false;          // it sends no more
    bool closed_towards = false;  // it was told that the other side sends no more
    std::uint32_t watched = 0;
  };
  void on_events(int side, std::uint32_t events);
  bool read_from(int side);  // false: the connection is broken
  bool flush_to(int side);
  bool watch(int side);
  void end(bool broken);

  EventLoop& loop_;
  Side sides_[2];
  bool connected_ = false;
  std::function<void()> on_end_;
};

}  // namespace skiff::net
