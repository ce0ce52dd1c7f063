#include "registry/kinds/service_ranges.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace skiff::registry {
namespace {

__extension__ using Address = unsigned __int128;

bool looks_like_ipv6(std::string_view address) { return address.find(':') != address.npos; }

std::optional<Address> parse(const std::string& address) {
  std::array<unsigned char, 16> raw{};
  bool ipv6 = looks_like_ipv6(address);
  if (::inet_pton(ipv6 ? AF_INET6 : AF_INET, address.c_str(), raw.data()) != 1) return std::nullopt;
  Address number = 0;
  for (int i = 0; i < (ipv6 ? 16 : 4); ++i) number = number << 8 | raw[static_cast<size_t>(i)];
  return number;
}

std::string text_of(Address address, bool ipv6) {
  std::array<unsigned char, 16> raw{};
  for (int i = (ipv6 ? 16 : 4) - 1; i >= 0; --i, address >>= 8) raw[static_cast<size_t>(i)] = address & 0xff;
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(ipv6 ? AF_INET6 : AF_INET, raw.data(), text.data(), text.size());
  return text.data();
}

}  // namespace

AddressRange::AddressRange(const std::string& cidr) : ipv6_(looks_like_ipv6(cidr)) {
  size_t slash = cidr.find('/');
  base_ = parse(cidr.substr(0, slash)).value_or(0);
  int host_bits = (ipv6_ ? 128 : 32) - std::atoi(cidr.c_str() + slash + 1);
  // The end of an IPv4 network is its broadcast address; of a large IPv6 network, 2^32 addresses are enough.
  size_ = (std::uint64_t{1} << std::clamp(host_bits, 2, 32)) - (ipv6_ ? 0 : 1);
}

std::string AddressRange::at(std::uint64_t offset) const { return text_of(base_ + offset, ipv6_); }

std::optional<std::uint64_t> AddressRange::offset_of(const std::string& address) const {
  std::optional<Address> parsed = looks_like_ipv6(address) == ipv6_ ? parse(address) : std::nullopt;
  if (!parsed || *parsed <= base_ || *parsed - base_ >= size_) return std::nullopt;
  return static_cast<std::uint64_t>(*parsed - base_);
}

Result<std::string> AddressRange::take(Random& random) {
  MutexLock lock(mutex_);
  std::uint64_t usable = size_ - 1;  // not the network's own
  // The low addresses stay free for those who ask for one by name (kube-dns, the API), as in Kubernetes.
  std::uint64_t reserved = std::min<std::uint64_t>(std::max<std::uint64_t>((size_ + 1) / 16, 16), 256);
  if (reserved >= usable) reserved = 0;
  std::uint64_t start = random.below(usable - reserved);
  for (std::uint64_t i = 0; i < usable; ++i) {
    std::uint64_t offset = (start + reserved + i) % usable + 1;
    if (taken_.insert(offset).second) return at(offset);
  }
  return Error(Code::Internal, "failed to allocate IP: range is full");
}

Status AddressRange::take(const std::string& address) {
  std::optional<std::uint64_t> offset = offset_of(address);
  if (!offset)
    return error(Code::Invalid, "failed to allocate IP {}: the provided network does not match the current range",
                 address);
  MutexLock lock(mutex_);
  if (!taken_.insert(*offset).second)
    return error(Code::Invalid, "failed to allocate IP {}: provided IP is already allocated", address);
  return ok();
}

void AddressRange::release(const std::string& address) {
  std::optional<std::uint64_t> offset = offset_of(address);
  MutexLock lock(mutex_);
  if (offset) taken_.erase(*offset);
}

ServiceRanges::ServiceRanges(const ServiceRangeOptions& options) : options_(options) {
  addresses_.push_back(std::make_unique<AddressRange>(options.cluster_cidr));
  if (!options.second_cidr.empty()) addresses_.push_back(std::make_unique<AddressRange>(options.second_cidr));
}

AddressRange* ServiceRanges::addresses(std::string_view family) const {
  for (const std::unique_ptr<AddressRange>& range : addresses_)
    if (range->family() == family) return range.get();
  return nullptr;
}

Result<int> ServiceRanges::take_port(Random& random) {
  MutexLock lock(mutex_);
  int size = options_.last_node_port - options_.first_node_port + 1;
  int start = static_cast<int>(random.below(static_cast<std::uint64_t>(size)));
  for (int i = 0; i < size; ++i) {
    int port = options_.first_node_port + (start + i) % size;
    if (ports_.insert(port).second) return port;
  }
  return Error(Code::Internal, "failed to allocate a nodePort: range is full");
}

Status ServiceRanges::take_port(int port) {
  if (port < options_.first_node_port || port > options_.last_node_port)
    return error(Code::Invalid, "provided port is not in the valid range. The range of valid ports is {}-{}",
                 options_.first_node_port, options_.last_node_port);
  MutexLock lock(mutex_);
  if (!ports_.insert(port).second) return Error(Code::Invalid, "provided port is already allocated");
  return ok();
}

void ServiceRanges::release_port(int port) {
  MutexLock lock(mutex_);
  ports_.erase(port);
}

}  // namespace skiff::registry
