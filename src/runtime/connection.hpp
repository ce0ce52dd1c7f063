#pragma once
// Requests and replies over the socket of a skiff-init. Internal to the room.

#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/mutex.hpp"
#include "runtime/init/wire.hpp"

namespace skiff::runtime {

struct Reply {
  std::string fields;
  std::vector<UniqueFd> fds;

  wire::FieldReader reader() const { return {fields.data(), fields.size()}; }
};

class Connection {
 public:
  using EventHandler = std::function<void(const Reply& event)>;

  /// `on_exit` gets ContainerExited events on the reader thread.
  Connection(UniqueFd socket, Clock& clock, EventHandler on_exit);
  ~Connection();

  /// Sends a request and waits for its reply. An error that skiff-init reports has the errno it gave. Any
  /// thread.
  Result<Reply> call(wire::Op op, const std::string& fields);
  /// Waits until the exec session has ended and forgets it.
  Result<int> wait_exec(std::uint64_t id, std::stop_token stop);
  bool alive() const;

 private:
  void read_frames();
  Result<wire::Header> read_frame(Reply& frame);
  Status read_bytes(char* data, size_t size);
  void handle(const wire::Header& header, Reply frame);

  UniqueFd socket_;
  Clock& clock_;
  EventHandler on_exit_;
  std::vector<UniqueFd> arrived_;  // reader thread: descriptors whose frame is not complete yet

  Mutex write_mutex_;  // one frame at a time; held across send, which only waits for skiff-init
  mutable Mutex mutex_;
  CondVar changed_;
  bool alive_ GUARDED_BY(mutex_) = true;
  std::uint64_t next_id_ GUARDED_BY(mutex_) = 1;
  std::map<std::uint64_t, std::optional<Reply>> waiting_ GUARDED_BY(mutex_);
  std::map<std::uint64_t, int> ended_execs_ GUARDED_BY(mutex_);
  std::jthread reader_;
};

}  // namespace skiff::runtime
