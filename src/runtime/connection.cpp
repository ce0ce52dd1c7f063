#include "runtime/connection.hpp"

#include <errno.h>
#include <sys/socket.h>

#include <cstring>
#include <optional>

#include "base/log.hpp"
#include "sys/files.hpp"

namespace skiff::runtime {
namespace {

Error gone() { return error(Code::Unavailable, "the node is powered off"); }

/// The error a reply carries, if it does.
std::optional<Error> error_of(const Reply& reply) {
  std::optional<std::string> text;
  int number = 0;
  wire::FieldReader reader = reply.reader();
  for (wire::Field field; reader.next(field);) {
    if (field.tag == wire::Tag::Error) text = field.text();
    if (field.tag == wire::Tag::Errno) number = static_cast<int>(field.number());
  }
  if (!text) return std::nullopt;
  Code code = Code::System;
  if (number == ENOENT || number == ESRCH) code = Code::NotFound;
  if (number == EBUSY) code = Code::Conflict;
  if (number == EEXIST) code = Code::AlreadyExists;
  return Error(code, *text, number);
}

}  // namespace

Connection::Connection(UniqueFd socket, Clock& clock, EventHandler on_exit)
    : socket_(std::move(socket)),
      clock_(clock),
      on_exit_(std::move(on_exit)),
      reader_([this] { read_frames(); }) {}

Connection::~Connection() { ::shutdown(socket_.get(), SHUT_RDWR); }  // ends the reader

bool Connection::alive() const {
  MutexLock lock(mutex_);
  return alive_;
}

Result<Reply> Connection::call(wire::Op op, const std::string& fields) {
  if (fields.size() > wire::kMaxPayload)
    return error(Code::Invalid, "the request is too large: {} bytes, limit {}", fields.size(),
                 wire::kMaxPayload);
  std::uint64_t id = 0;
  {
    MutexLock lock(mutex_);
    if (!alive_) return gone();
    id = next_id_++;
    waiting_[id] = std::nullopt;
  }
  wire::Header header{static_cast<std::uint32_t>(fields.size()), op, 0, id};
  std::string frame(reinterpret_cast<const char*>(&header), sizeof header);
  frame += fields;
  {
    MutexLock lock(write_mutex_);
    std::string_view left = frame;
    while (!left.empty()) {
      ssize_t sent =
          sys::retry_eintr([&] { return ::send(socket_.get(), left.data(), left.size(), MSG_NOSIGNAL); });
      if (sent < 0) break;  // the reader notices, too, and fails every waiting call
      left.remove_prefix(static_cast<size_t>(sent));
    }
  }
  MutexLock lock(mutex_);
  while (alive_ && !waiting_[id]) changed_.wait(mutex_);
  std::optional<Reply> reply = std::move(waiting_[id]);
  waiting_.erase(id);
  if (!reply) return gone();
  if (std::optional<Error> failure = error_of(*reply)) return *failure;
  return std::move(*reply);
}

Result<int> Connection::wait_exec(std::uint64_t id, std::stop_token stop) {
  MutexLock lock(mutex_);
  for (;;) {
    if (auto ended = ended_execs_.find(id); ended != ended_execs_.end()) {
      int code = ended->second;
      ended_execs_.erase(ended);
      return code;
    }
    if (!alive_) return gone();
    if (stop.stop_requested()) return error(Code::Canceled, "waiting for the command was canceled");
    clock_.wait(mutex_, changed_, stop);
  }
}

Status Connection::read_bytes(char* data, size_t size) {
  while (size > 0) {
    iovec part{data, size};
    alignas(cmsghdr) char control[CMSG_SPACE(wire::kMaxFds * sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ssize_t got = sys::retry_eintr([&] { return ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC); });
    if (got <= 0) return gone();
    for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr; head = CMSG_NXTHDR(&message, head)) {
      if (head->cmsg_type != SCM_RIGHTS) continue;
      size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof fd);
        arrived_.emplace_back(fd);
      }
    }
    data += got;
    size -= static_cast<size_t>(got);
  }
  return ok();
}

Result<wire::Header> Connection::read_frame(Reply& frame) {
  wire::Header header{};
  TRY(read_bytes(reinterpret_cast<char*>(&header), sizeof header));
  frame.fields.resize(header.size);
  TRY(read_bytes(frame.fields.data(), header.size));
  size_t count = std::min<size_t>(header.fds, arrived_.size());
  for (size_t i = 0; i < count; ++i) frame.fds.push_back(std::move(arrived_[i]));
  arrived_.erase(arrived_.begin(), arrived_.begin() + static_cast<std::ptrdiff_t>(count));
  return header;
}

void Connection::read_frames() {
  for (;;) {
    Reply frame;
    Result<wire::Header> header = read_frame(frame);
    if (!header.ok()) break;
    handle(header.value(), std::move(frame));
  }
  MutexLock lock(mutex_);
  alive_ = false;
  changed_.notify_all();
}

void Connection::handle(const wire::Header& header, Reply frame) {
  if (header.op == wire::Op::ContainerExited) return on_exit_(frame);
  MutexLock lock(mutex_);
  if (header.op == wire::Op::ExecExited) {
    std::uint64_t id = 0;
    int code = 0;
    wire::FieldReader reader = frame.reader();
    for (wire::Field field; reader.next(field);) {
      if (field.tag == wire::Tag::ExecId) id = field.number();
      if (field.tag == wire::Tag::ExitCode) code = static_cast<int>(field.number());
    }
    ended_execs_[id] = code;
  } else if (auto call = waiting_.find(header.id); call != waiting_.end()) {
    call->second = std::move(frame);
  }
  changed_.notify_all();
}

}  // namespace skiff::runtime
