#pragma once
// What an image says about running it.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace skiff::image {

/// The OCI image configuration, as far as running a container and listing images need it.
struct Config {
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::vector<std::string> env;  // "NAME=value"
  std::string user;              // "", "1000", "user:group", ...
  std::string working_dir;
  std::string stop_signal;                 // "", "SIGTERM", "15", ...
  std::vector<std::string> exposed_ports;  // "8080/tcp", sorted
  std::vector<std::string> volumes;        // paths, sorted
  std::string created;                     // RFC 3339 or empty
  std::string architecture;
  std::string os;
  std::map<std::string, std::string> labels;
  std::vector<std::string> diff_ids;  // of the uncompressed layers, bottom first
};

/// Invalid: no JSON, or members of the wrong type.
Result<Config> parse_config(std::string_view json);

}  // namespace skiff::image
