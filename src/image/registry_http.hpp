#pragma once
// HTTP as registries need it: GET with a streamed body. The only file here that knows httplib.

#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "image/registry_config.hpp"

namespace skiff::image {

struct RegistryAnswer {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // what no sink took

  std::string header(const std::string& name) const {
    auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

/// Takes the body of an answer as it comes; false ends the transfer (Code::Canceled).
struct BodySink {
  std::function<bool(const RegistryAnswer& head)> begin;   // whether this body is wanted; else it goes to `body`
  std::function<bool(std::string_view part)> take;
};

/// One keep-alive connection to one host. One thread.
class RegistryHttp {
 public:
  RegistryHttp(const Endpoint& endpoint, const RegistryConfig& config);
  ~RegistryHttp();

  /// `path` with its query. Any status is an answer; redirects are not followed. Unavailable: no answer, in the words of
  /// the container tools ("dial tcp ...: connect: connection refused").
  Result<RegistryAnswer> get(const std::string& path, const std::map<std::string, std::string>& headers,
                             const BodySink* sink, const std::stop_token& stop);

 private:
  struct Connection;
  const Endpoint endpoint_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace skiff::image
