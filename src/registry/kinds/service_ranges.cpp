#include "registry/kinds/service_ranges.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cstdlib>

namespace skiff::registry {
namespace {

std::optional<std::uint32_t> parse(const std::string& address) {
  in_addr parsed{};
  if (::inet_pton(AF_INET, address.c_str(), &parsed) != 1) return std::nullopt;
  return ntohl(parsed.s_addr);
}

std::string text_of(std::uint32_t address) {
  in_addr raw{.s_addr = htonl(address)};
  char text[INET_ADDRSTRLEN];
  ::inet_ntop(AF_INET, &raw, text, sizeof text);
  return text;
}

}  // namespace

ServiceRanges::ServiceRanges(const ServiceRangeOptions& options) : options_(options) {
  size_t slash = options.cluster_cidr.find('/');
  base_ = parse(options.cluster_cidr.substr(0, slash)).value_or(0);
  int bits = std::atoi(options.cluster_cidr.c_str() + slash + 1);
  size_ = bits <= 0 || bits > 30 ? 4 : 1U << (32 - bits);
}

std::string ServiceRanges::api_address() const { return text_of(base_ + 1); }

std::optional<std::uint32_t> ServiceRanges::offset_of(const std::string& address) const {
  std::optional<std::uint32_t> parsed = parse(address);
  if (!parsed || *parsed <= base_ || *parsed - base_ >= size_ - 1) return std::nullopt;
  return *parsed - base_;
}

Result<std::string> ServiceRanges::take_address(Random& random) {
  MutexLock lock(mutex_);
  std::uint32_t usable = size_ - 2;  // neither the network's address nor the broadcast's
  // The low addresses stay free for those who ask for one by name (kube-dns, the API), as in Kubernetes.
  std::uint32_t reserved = std::min(std::max(size_ / 16, 16U), 256U);
  if (reserved >= usable) reserved = 0;
  std::uint32_t start = static_cast<std::uint32_t>(random.below(usable - reserved));
  for (std::uint32_t i = 0; i < usable; ++i) {
    std::uint32_t offset = (start + reserved + i) % usable + 1;
    if (addresses_.insert(offset).second) return text_of(base_ + offset);
  }
  return Error(Code::Internal, "failed to allocate IP: range is full");
}

Status ServiceRanges::take_address(const std::string& address) {
  std::optional<std::uint32_t> offset = offset_of(address);
  if (!offset)
    return error(Code::Invalid, "failed to allocate IP {}: the provided network does not match the current range",
                 address);
  MutexLock lock(mutex_);
  if (!addresses_.insert(*offset).second)
    return error(Code::Invalid, "failed to allocate IP {}: provided IP is already allocated", address);
  return ok();
}

void ServiceRanges::release_address(const std::string& address) {
  std::optional<std::uint32_t> offset = offset_of(address);
  MutexLock lock(mutex_);
  if (offset) addresses_.erase(*offset);
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
