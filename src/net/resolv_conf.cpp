#include "net/resolv_conf.hpp"

#include <sstream>

#include "sys/files.hpp"

namespace skiff::net {

std::vector<Address> parse_name_servers(std::string_view resolv_conf) {
  std::vector<Address> servers;
  std::istringstream lines{std::string(resolv_conf)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string keyword, address;
    if (!(words >> keyword >> address) || keyword != "nameserver") continue;
    if (Result<Address> parsed = parse_address(address); parsed.ok()) servers.push_back(parsed.value());
  }
  return servers;
}

const std::vector<Address>& HostResolvers::current() {
  Result<struct stat> found = sys::stat_of(path_);
  Version version;
  if (found.ok()) {
    const struct stat& file = found.value();
    version = {file.st_mtim.tv_sec, file.st_mtim.tv_nsec, file.st_ino,
               static_cast<std::uint64_t>(file.st_size)};
  }
  if (version == version_) return servers_;
  version_ = version;
  Result<std::string> text = sys::read_file(path_, 64 << 10);
  servers_ = text.ok() ? parse_name_servers(text.value()) : std::vector<Address>();
  return servers_;
}

}  // namespace skiff::net
