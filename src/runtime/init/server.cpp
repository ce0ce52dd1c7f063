#include "server.hpp"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

namespace skiff::init {

struct Frame {
  Buffer bytes;
  size_t sent = 0;
  int fds[wire::kMaxFds];
  size_t fd_count = 0;
  Frame* next = nullptr;
  ~Frame() {
    for (size_t i = 0; i < fd_count; ++i) close(fds[i]);
  }
};

namespace {

constexpr size_t kMaxQueued = 16U << 20;

/// Sends what is left of the frame; its descriptors go with the first byte. As send(2).
ssize_t send_frame(int socket, Frame& frame) {
  iovec part{frame.bytes.data() + frame.sent, frame.bytes.size() - frame.sent};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof frame.fds)] = {};
  if (frame.sent == 0 && frame.fd_count > 0) {
    size_t size = frame.fd_count * sizeof(int);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(size);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(header), frame.fds, size);
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace

Client::Client(Server& server, Fd fd, uint64_t serial)
    : server_(server), fd_(static_cast<Fd&&>(fd)), source_{&on_ready, this}, serial_(serial) {
  server_.events_.watch(fd_.get(), EPOLLIN, source_);
}

Client::~Client() {
  server_.events_.forget(fd_.get());
  while (first_ != nullptr) {
    Frame* next = first_->next;
    delete first_;
    first_ = next;
  }
}

bool Client::queue(wire::Header header, Message& message) {
  auto* frame = new Frame;
  header.size = static_cast<uint32_t>(message.fields.size());
  header.fds = static_cast<uint16_t>(message.fds.size());
  frame->bytes.append(reinterpret_cast<const char*>(&header), sizeof header);
  frame->bytes.append(message.fields.data(), message.fields.size());
  for (int fd : message.fds) {
    frame->fds[frame->fd_count] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (frame->fds[frame->fd_count] >= 0) ++frame->fd_count;
  }
  (last_ != nullptr ? last_->next : first_) = frame;
  last_ = frame;
  queued_bytes_ += frame->bytes.size();
  return queued_bytes_ <= kMaxQueued && write_frames();
}

bool Client::write_frames() {
  while (first_ != nullptr) {
    ssize_t sent = send_frame(fd_.get(), *first_);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN) return false;
    if (sent < 0) break;
    first_->sent += static_cast<size_t>(sent);
    if (first_->sent < first_->bytes.size()) continue;
    queued_bytes_ -= first_->bytes.size();
    Frame* next = first_->next;
    delete first_;
    first_ = next;
    if (first_ == nullptr) last_ = nullptr;
  }
  uint32_t waiting = first_ != nullptr ? EPOLLIN | EPOLLOUT : uint32_t{EPOLLIN};
  server_.events_.change(fd_.get(), waiting, source_);
  return true;
}

bool Client::read_frames() {
  constexpr size_t chunk = 65536;
  ssize_t got = read(fd_.get(), in_.room(chunk), chunk);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0) return false;
  in_.grown(static_cast<size_t>(got));
  uint64_t serial = serial_;
  Server& server = server_;
  for (wire::Header header; in_.size() >= sizeof header;) {
    memcpy(&header, in_.data(), sizeof header);
    if (header.size > wire::kMaxPayload) return false;
    if (in_.size() < sizeof header + header.size) return true;
    Buffer fields;
    fields.append(in_.data() + sizeof header, header.size);
    in_.consume(sizeof header + header.size);
    server.handler_.request(server.handler_.node, {serial, header.id}, header.op,
                            static_cast<Buffer&&>(fields));
    if (server.find(serial) != this) return true;  // a failed reply dropped us: `this` is gone
  }
  if (in_.size() == 0) in_.release();
  return true;
}

void Client::on_ready(Source& self, uint32_t events) {
  auto& client = *static_cast<Client*>(self.owner);
  Server& server = client.server_;
  uint64_t serial = client.serial_;
  bool alive = true;
  if (events & EPOLLOUT) alive = client.write_frames();
  if (alive && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) alive = client.read_frames();
  if (!alive && server.find(serial) == &client) server.drop(client);
}

Server::Server(Events& events, Fd listening, Handler handler)
    : events_(events),
      listening_(static_cast<Fd&&>(listening)),
      source_{&on_connection, this},
      handler_(handler) {
  events_.watch(listening_.get(), EPOLLIN, source_);
}

void Server::on_connection(Source& self, uint32_t) {
  auto& server = *static_cast<Server*>(self.owner);
  Fd fd(accept4(server.listening_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) return;
  server.clients_.push(new Client(server, static_cast<Fd&&>(fd), server.next_serial_++));
}

void Server::drop(Client& client) {
  uint64_t serial = client.serial();
  clients_.remove(&client);
  delete &client;
  handler_.disconnected(handler_.node, serial);
}

Client* Server::find(uint64_t serial) {
  for (Client* client : clients_)
    if (client->serial() == serial) return client;
  return nullptr;
}

void Server::reply(const Request& request, Message& message) {
  Client* client = find(request.client);
  if (client != nullptr && !client->queue({0, wire::Op::Reply, 0, request.id}, message)) drop(*client);
}

void Server::reply_error(const Request& request, int number, const char* text) {
  Message message;
  wire::put_text(message.fields, wire::Tag::Error, text);
  wire::put_number(message.fields, wire::Tag::Errno, static_cast<uint64_t>(number));
  reply(request, message);
}

void Server::reply_failure(const Request& request, int number, const char* text) {
  char whole[1400];
  int length = snprintf(whole, sizeof whole - 200, "%s", text);
  if (number != 0) {
    char* end = whole + (length < int{sizeof whole} - 200 ? length : int{sizeof whole} - 201);
    snprintf(end, 200, ": %s", strerror(number));
    if (end[2] >= 'A' && end[2] <= 'Z') end[2] = static_cast<char>(end[2] - 'A' + 'a');
  }
  reply_error(request, number, whole);
}

void Server::broadcast(wire::Op event, Message& message) {
  for (size_t i = clients_.size(); i-- > 0;)
    if (!clients_[i]->queue({0, event, 0, 0}, message)) drop(*clients_[i]);
}

}  // namespace skiff::init
