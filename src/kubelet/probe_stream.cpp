#include "kubelet/probe_stream.hpp"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <cctype>

#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

constexpr size_t kPiece = 4096;

Error too_late() {
  return error(Code::Timeout, "context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
}

/// False when the deadline passed first.
bool wait_ready(const UniqueFd& fd, short events, TimePoint deadline) {
  auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - SystemClock().now()).count();
  pollfd waiting{fd.get(), events, 0};
  return left > 0 && sys::retry_eintr([&] { return ::poll(&waiting, 1, static_cast<int>(left)); }) > 0;
}

class PlainStream final : public ProbeStream {
 public:
  explicit PlainStream(UniqueFd socket) : socket_(std::move(socket)) {}

  Status send(std::string_view data, TimePoint deadline) override {
    while (!data.empty()) {
      if (!wait_ready(socket_, POLLOUT, deadline)) return too_late();
      ssize_t sent = ::send(socket_.get(), data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0 && errno != EAGAIN && errno != EINTR)
        return Error(Code::System, "write: " + go_errno(errno), errno);
      if (sent > 0) data.remove_prefix(static_cast<size_t>(sent));
    }
    return ok();
  }

  Result<std::string> receive(TimePoint deadline) override {
    for (;;) {
      if (!wait_ready(socket_, POLLIN, deadline)) return too_late();
      char part[kPiece];
      ssize_t got = ::recv(socket_.get(), part, sizeof part, MSG_DONTWAIT);
      if (got >= 0) return std::string(part, static_cast<size_t>(got));
      if (errno != EAGAIN && errno != EINTR) return Error(Code::System, "read: " + go_errno(errno), errno);
    }
  }

 private:
  UniqueFd socket_;
};

template <class T, void (*Free)(T*)>
struct Freed {
  void operator()(T* object) const { Free(object); }
};
using Context = std::unique_ptr<SSL_CTX, Freed<SSL_CTX, SSL_CTX_free>>;
using Session = std::unique_ptr<SSL, Freed<SSL, SSL_free>>;

class TlsStream final : public ProbeStream {
 public:
  TlsStream(UniqueFd socket, Session session) : socket_(std::move(socket)), session_(std::move(session)) {}

  Status handshake(TimePoint deadline) {
    return drive(deadline, [this] { return SSL_connect(session_.get()); });
  }

  Status send(std::string_view data, TimePoint deadline) override {
    while (!data.empty()) {
      int sent = 0;
      TRY(drive(deadline, [&] { return sent = SSL_write(session_.get(), data.data(), static_cast<int>(data.size())); }));
      data.remove_prefix(static_cast<size_t>(sent));
    }
    return ok();
  }

  Result<std::string> receive(TimePoint deadline) override {
    char part[kPiece];
    int got = 0;
    Status read = drive(deadline, [&] { return got = SSL_read(session_.get(), part, sizeof part); });
    if (!read.ok() && read.error().code() == Code::Gone) return std::string();
    if (!read.ok()) return std::move(read).error();
    return std::string(part, static_cast<size_t>(got));
  }

 private:
  /// Repeats `call` until it has done something. Gone: the other side has ended the connection.
  template <class Call>
  Status drive(TimePoint deadline, Call&& call) {
    for (;;) {
      ERR_clear_error();
      int result = call();
      if (result > 0) return ok();
      int why = SSL_get_error(session_.get(), result);
      if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
        if (!wait_ready(socket_, why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline)) return too_late();
        continue;
      }
      unsigned long problem = ERR_get_error();
      bool cut = why == SSL_ERROR_SYSCALL || ERR_GET_REASON(problem) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
      if (why == SSL_ERROR_ZERO_RETURN || cut) return error(Code::Gone, "EOF");
      char text[256];
      ERR_error_string_n(problem, text, sizeof text);
      return error(Code::System, "tls: {}", text);
    }
  }

  UniqueFd socket_;
  Session session_;
};

}  // namespace

std::string go_errno(int number) {
  std::string text = ::strerror(number);
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

std::unique_ptr<ProbeStream> plain_stream(UniqueFd socket) { return std::make_unique<PlainStream>(std::move(socket)); }

Result<std::unique_ptr<ProbeStream>> tls_stream(UniqueFd socket, TimePoint deadline) {
  Context context(SSL_CTX_new(TLS_client_method()));
  if (!context) return error(Code::Internal, "tls: no context");
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  Session session(SSL_new(context.get()));
  if (!session || SSL_set_fd(session.get(), socket.get()) != 1) return error(Code::Internal, "tls: no session");
  auto stream = std::make_unique<TlsStream>(std::move(socket), std::move(session));
  Status met = stream->handshake(deadline);
  if (!met.ok() && met.error().code() == Code::Gone)
    return error(Code::System, "http: server gave HTTP response to HTTPS client");
  if (!met.ok()) return std::move(met).error();
  return std::unique_ptr<ProbeStream>(std::move(stream));
}

}  // namespace skiff::kubelet
