#pragma once
// A connection as a probe talks over it, plain or inside TLS.

#include <memory>
#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/fd.hpp"

namespace skiff::kubelet {

/// One thread. Errors are worded as Go words them; Timeout at the deadline.
class ProbeStream {
 public:
  virtual ~ProbeStream() = default;
  virtual Status send(std::string_view data, TimePoint deadline) = 0;
  /// What is there next; empty at the end.
  virtual Result<std::string> receive(TimePoint deadline) = 0;
};

/// `socket` is connected and non-blocking.
std::unique_ptr<ProbeStream> plain_stream(UniqueFd socket);
/// After the handshake. Whatever certificate the other side shows is taken, as the kubelet does.
Result<std::unique_ptr<ProbeStream>> tls_stream(UniqueFd socket, TimePoint deadline);

/// errno in Go's words ("connection refused").
std::string go_errno(int number);

}  // namespace skiff::kubelet
