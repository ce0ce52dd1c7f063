#pragma once
// The ranges that Services share: cluster IPs and node ports. Nothing is given out twice, however many ask at once.

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/mutex.hpp"
#include "base/random.hpp"

namespace skiff::registry {

struct ServiceRangeOptions {
  std::string cluster_cidr = "10.96.0.0/16";  // of either family; its first address is the API's
  std::string second_cidr = {};               // of the other family; empty: the cluster has one family only
  int first_node_port = 30000;
  int last_node_port = 32767;
};

/// The addresses of one network. Any thread.
class AddressRange {
 public:
  explicit AddressRange(const std::string& cidr);

  bool is_ipv6() const { return ipv6_; }
  const char* family() const { return ipv6_ ? "IPv6" : "IPv4"; }
  /// The address `offset` behind the network's own.
  std::string at(std::uint64_t offset) const;

  /// A free address at random; Code::Internal when the range is used up.
  Result<std::string> take(Random& random);
  /// Invalid: outside the range, or "provided IP is already allocated".
  Status take(const std::string& address);
  void release(const std::string& address);

 private:
  __extension__ using Address = unsigned __int128;
  std::optional<std::uint64_t> offset_of(const std::string& address) const;

  bool ipv6_ = false;
  Address base_ = 0;
  std::uint64_t size_ = 0;    // addresses that are used of it, the network's own included
  mutable Mutex mutex_;
  std::set<std::uint64_t> taken_ GUARDED_BY(mutex_);  // offsets from base_
};

/// Any thread.
class ServiceRanges {
 public:
  explicit ServiceRanges(const ServiceRangeOptions& options);

  /// One range a family, the cluster's first family first.
  const std::vector<std::unique_ptr<AddressRange>>& addresses() const { return addresses_; }
  /// Null: the cluster does not have this family ("IPv4", "IPv6").
  AddressRange* addresses(std::string_view family) const;
  bool dual_stack() const { return addresses_.size() == 2; }

  Result<int> take_port(Random& random);
  Status take_port(int port);
  void release_port(int port);

  /// The first address of the range, which the service "kubernetes" has.
  std::string api_address() const { return addresses_.front()->at(1); }
  const ServiceRangeOptions& options() const { return options_; }

 private:
  const ServiceRangeOptions options_;
  std::vector<std::unique_ptr<AddressRange>> addresses_;
  mutable Mutex mutex_;
  std::set<int> ports_ GUARDED_BY(mutex_);
};

}  // namespace skiff::registry
