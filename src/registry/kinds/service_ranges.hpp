#pragma once
// The ranges that Services share: cluster IPs and node ports. Nothing is given out twice, however many ask at once.

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "base/error.hpp"
#include "base/mutex.hpp"
#include "base/random.hpp"

namespace skiff::registry {

struct ServiceRangeOptions {
  std::string cluster_cidr = "10.96.0.0/16";  // IPv4; its first address is the API's
  int first_node_port = 30000;
  int last_node_port = 32767;
};

/// Any thread.
class ServiceRanges {
 public:
  explicit ServiceRanges(const ServiceRangeOptions& options);

  /// A free address at random; Code::Internal when the range is used up.
  Result<std::string> take_address(Random& random);
  /// Invalid: outside the range, or "provided IP is already allocated".
  Status take_address(const std::string& address);
  void release_address(const std::string& address);

  Result<int> take_port(Random& random);
  Status take_port(int port);
  void release_port(int port);

  /// The first address of the range, which the service "kubernetes" has.
  std::string api_address() const;
  const ServiceRangeOptions& options() const { return options_; }

 private:
  std::optional<std::uint32_t> offset_of(const std::string& address) const;

  const ServiceRangeOptions options_;
  std::uint32_t base_ = 0;   // host byte order
  std::uint32_t size_ = 0;
  mutable Mutex mutex_;
  std::set<std::uint32_t> addresses_ GUARDED_BY(mutex_);  // offsets from base_
  std::set<int> ports_ GUARDED_BY(mutex_);
};

}  // namespace skiff::registry
