#pragma once
// The server's side of TLS on non-blocking sockets, and connections that are plain or not.

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace skiff::net {

/// A certificate with its chain and key. Immutable; any thread.
class TlsCertificate {
 public:
  /// PEM. Invalid: not readable, or the key is another's.
  static Result<std::shared_ptr<const TlsCertificate>> parse(const std::string& chain,
                                                             const std::string& key);
  /// One for whoever has none: browsers will say that nobody vouches for it.
  static Result<std::shared_ptr<const TlsCertificate>> self_signed(const std::string& common_name);
  ~TlsCertificate();

  struct Parts;
  explicit TlsCertificate(std::unique_ptr<Parts> parts);
  const Parts& parts() const { return *parts_; }

 private:
  std::unique_ptr<Parts> parts_;
};

/// Which certificate a client gets, by the name it asked for (lower case; empty when it named none).
using ChooseCertificate = std::function<std::shared_ptr<const TlsCertificate>(const std::string& name)>;

/// One connection with a client. One thread.
class Channel {
 public:
  virtual ~Channel() = default;
  enum Outcome : std::ptrdiff_t { kEnd = 0, kAgain = -1, kBroken = -2 };
  /// Bytes read or written, or an Outcome.
  virtual std::ptrdiff_t read(char* data, size_t size) = 0;
  virtual std::ptrdiff_t write(const char* data, size_t size) = 0;
  /// Tells the other side that no more comes.
  virtual void shut_down() = 0;
  /// Bytes that were taken off the socket but not read: nothing will wake us for them.
  virtual bool has_pending() const { return false; }
  /// The last kAgain waits for the socket to take bytes, whatever was called.
  virtual bool wants_write() const { return false; }
  virtual int fd() const = 0;
};

std::unique_ptr<Channel> plain_channel(UniqueFd socket);

class TlsServer {
 public:
  static Result<std::unique_ptr<TlsServer>> create();
  ~TlsServer();
  /// The handshake happens while the channel is read.
  Result<std::unique_ptr<Channel>> accept(UniqueFd socket, ChooseCertificate choose) const;

 private:
  struct Context;
  explicit TlsServer(std::unique_ptr<Context> context);
  std::unique_ptr<Context> context_;
};

}  // namespace skiff::net
