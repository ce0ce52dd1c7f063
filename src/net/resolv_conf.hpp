#pragma once
// The host's resolvers.

#include <string>
#include <vector>

#include "base/clock.hpp"
#include "net/address.hpp"

namespace skiff::net {

/// The IPv4 addresses of the `nameserver` lines, in order.
std::vector<Address> parse_name_servers(std::string_view resolv_conf);

/// Follows /etc/resolv.conf (or another file). One thread.
class HostResolvers {
 public:
  explicit HostResolvers(std::string path) : path_(std::move(path)) {}

  /// The resolvers as of now: the file is read again when it changed. No file: none.
  const std::vector<Address>& current();

 private:
  struct Version {
    std::int64_t seconds = 0, nanoseconds = 0;
    std::uint64_t inode = 0, size = 0;
    bool operator==(const Version&) const = default;
  };
  const std::string path_;
  Version version_;
  std::vector<Address> servers_;
};

}  // namespace skiff::net
