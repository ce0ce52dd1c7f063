#pragma once
// The socket in the node's directory: skiff's connections, frames in, replies and events out.

#include "events.hpp"
#include "memory.hpp"
#include "wire.hpp"

namespace skiff::init {

/// A reply or event being built. Descriptors are the frame's to close once it is sent.
struct Message {
  Buffer fields;
  Array<int> fds;
};

/// Whom to answer. The client may be gone by then.
struct Request {
  uint64_t client = 0;
  uint64_t id = 0;
};

struct Frame;

class Client {
 public:
  Client(class Server& server, Fd fd, uint64_t serial);
  ~Client();
  uint64_t serial() const { return serial_; }
  /// False when the client is too far behind or gone; the caller drops it.
  bool queue(wire::Header header, Message& message);

 private:
  static void on_ready(Source& self, uint32_t events);
  bool read_frames();
  bool write_frames();

  Server& server_;
  Fd fd_;
  Source source_;
  uint64_t serial_;
  Buffer in_;
  Frame* first_ = nullptr;
  Frame* last_ = nullptr;
  size_t queued_bytes_ = 0;
};

class Server {
 public:
  /// What the node does with requests.
  struct Handler {
    void* node;
    void (*request)(void* node, const Request& request, wire::Op op, Buffer fields);
    void (*disconnected)(void* node, uint64_t client);
  };

  Server(Events& events, Fd listening, Handler handler);
  void reply(const Request& request, Message& message);
  /// `number` (an errno) is for skiff to branch on, `text` for people.
  void reply_error(const Request& request, int number, const char* text);
  /// The same with the errno's text appended, as Go spells it: "no such file or directory".
  void reply_failure(const Request& request, int number, const char* text);
  void broadcast(wire::Op event, Message& message);

 private:
  friend class Client;
  static void on_connection(Source& self, uint32_t events);
  void drop(Client& client);
  Client* find(uint64_t serial);

  Events& events_;
  Fd listening_;
  Source source_;
  Handler handler_;
  Array<Client*> clients_;
  uint64_t next_serial_ = 1;
};

}  // namespace skiff::init
